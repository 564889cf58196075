import torch

from ldm.weights.fingerprint import weights_hash


def test_the_hash_sees_every_number_and_every_name(build_autoencoder):
    model, same = build_autoencoder(), build_autoencoder()
    assert weights_hash(model) == weights_hash(same) != weights_hash(build_autoencoder(1))
    with torch.no_grad():
        same.post_quant_conv.bias[0] += 1e-6
    assert weights_hash(model) != weights_hash(same)
    assert weights_hash(model.to(torch.bfloat16)) != weights_hash(build_autoencoder(1).to(torch.bfloat16))
