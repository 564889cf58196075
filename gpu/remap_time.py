import sys; sys.path.insert(0,'.')
import torch, copy
torch.set_num_threads(1); torch.manual_seed(0)
from ldm.models import toyland
from ldm.modules.layers import timestep_embedding
from ldm.weights.checkpoint import load_weights
m=load_weights(toyland("assets/toyland/vocab.txt"),"/root/keep/gpu2/ldm")
def abar(s,e): return (1-torch.linspace(s**.5,e**.5,1000,dtype=torch.float64)**2).cumprod(0)
old,new=abar(.00085,.012),abar(.0015,.0195)
print("old T",float(old[-1]),"new T",float(new[-1]), "first t below old T:",int((new<old[-1]).nonzero()[0]))
lo,ln=(old/(1-old)).log(),(new/(1-new)).log()
# fractional old timestep of the same snr
import numpy as np
tau=np.interp(-ln.numpy(),-lo.numpy(),np.arange(1000.0))
tau=torch.tensor(tau).float()
te=m.unet.time_embed; target=te(timestep_embedding(tau,m.unet.model_channels)).detach()
net=copy.deepcopy(te).requires_grad_(True)
x=timestep_embedding(torch.arange(1000),m.unet.model_channels)
opt=torch.optim.Adam(net.parameters(),lr=3e-3)
sch=torch.optim.lr_scheduler.CosineAnnealingLR(opt,20000)
import torch.nn.functional as F
for i in range(20000):
    y=net(x); loss=(F.silu(y)-F.silu(target)).square().mean()
    opt.zero_grad(); loss.backward(); opt.step(); sch.step()
    if i%4000==0 or i==19999: print(i,float(loss), float(F.silu(target).var()))
torch.save(net.state_dict(),"/tmp/time_embed.pt")
