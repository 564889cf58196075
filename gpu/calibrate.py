"""Calibrate the diffusion model for the noise that its first schedule never reached: data loss above the first schedule's
end, the given model as teacher below it. Resumable every 50 steps."""
import sys, time, os; sys.path.insert(0,'/work/me')
import torch, numpy as np, copy
torch.set_num_threads(int(os.environ.get("T","1")))
from ldm.models import toyland
from ldm.weights.checkpoint import load_weights, write_weights
from toyland.dataset import RenderedScenes
V="/work/me/assets/toyland/vocab.txt"; N=int(os.environ.get("N","4000")); FIRST=793
m=load_weights(toyland(V),"/root/keep/remapped"); teacher=copy.deepcopy(m).eval().requires_grad_(False)
f="/work/train/latents_%d.pt"%N
if not os.path.exists(f):
    x=np.load("/work/train/cache/toyland/train/images.npy",mmap_mode="r"); z=[]
    with torch.no_grad():
        for i in range(0,N,50):
            p=m.first_stage_model.encode(torch.from_numpy(x[i:i+50].copy()).permute(0,3,1,2).float()/127.5-1)
            z.append(torch.stack([p.mean,p.std],1)); 
            if i%1000==0: print("encoded",i,flush=True)
    torch.save(torch.cat(z),f)
z=torch.load(f)
s=RenderedScenes("none",1,48000,plain=0.3)
ids=torch.stack([m.text_encoder.tokenize([s.caption(i,d) for d in range(3)]) for i in range(N)])
empty=m.text_encoder.tokenize([""])[0]
unet,text=m.unet,m.text_encoder
unet.train()
params=list(unet.parameters())
opt=torch.optim.AdamW(params,lr=5e-5,betas=(.9,.98),weight_decay=0.0,fused=True)
avg=[p.detach().clone() for p in params]
step=0; state="/work/train/finetune.pt"
if os.path.exists(state):
    a=torch.load(state); unet.load_state_dict(a["unet"]); opt.load_state_dict(a["opt"]); avg=a["avg"]; step=a["step"]
TOTAL=int(os.environ.get("TOTAL","450")); B=32; H=16
ab=m.alpha_bar; said=[]
began=time.time()
while step<TOTAL:
    g=torch.Generator().manual_seed(1000+step)
    rows=torch.randint(0,N,(B,),generator=g); draw=torch.randint(0,3,(B,),generator=g)
    t=torch.cat([torch.randint(FIRST-20,1000,(H,),generator=g),torch.randint(0,FIRST,(B-H,),generator=g)])
    i=torch.where((torch.rand(B,generator=g)<.1)[:,None],empty,ids[rows,draw])
    mean,std=z[rows].unbind(1); z0=m.scale_factor*(mean+std*torch.randn(mean.shape,generator=g))
    eps=torch.randn(z0.shape,generator=g); a=ab[t][:,None,None,None]; zt=a.sqrt()*z0+(1-a).sqrt()*eps
    with torch.no_grad():
        c=text.encode(text.embed(i))
        target=torch.cat([eps[:H],teacher.unet(zt[H:],t[H:],c[H:])])
        before=(teacher.unet(zt[:H],t[:H],c[:H])-eps[:H]).square().mean() if step%25==0 else None
    opt.param_groups[0]["lr"]=5e-5*min(1,(step+1)/20,(TOTAL-step)/(.4*TOTAL))
    sq=(unet(zt,t,c)-target).square().mean((1,2,3))
    loss=sq[:H].mean()+sq[H:].mean()
    opt.zero_grad(); loss.backward(); torch.nn.utils.clip_grad_norm_(params,1.0); opt.step(); step+=1
    k=min(.98,(1+step)/(10+step))
    with torch.no_grad(): torch._foreach_mul_(avg,k); torch._foreach_add_(avg,[p*(1-k) for p in params])
    said.append((float(sq[:H].mean()),float(sq[H:].mean())))
    if before is not None: print(step,f"{time.time()-began:.0f}s","before",float(before),"now",np.mean(said[-25:],0),flush=True)
    if step%50==0: torch.save({"unet":unet.state_dict(),"opt":opt.state_dict(),"avg":avg,"step":step},state+".part"); os.replace(state+".part",state)
with torch.no_grad():
    for p,q in zip(params,avg): p.copy_(q)
write_weights("/root/keep/finetuned",m.state_dict()); print("written")
