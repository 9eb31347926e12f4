"""A checkpoint with the adapter beside it, as other programs load it."""

from __future__ import annotations

from tests.adapters import write_adapter
from tests.checkpoints import write_checkpoint


def test_transformers_loads_a_folder_with_both_as_the_adapted_model(tmp_path):
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    from components.lm.adapters import attach_adapter
    from components.lm.loading import load_model
    from components.registry.answering import embed_adapter

    model = write_checkpoint(tmp_path / "model")
    (model / "pytorch_model.bin").write_bytes(b"a pickle")
    write_adapter(tmp_path / "adapter", model, seed=1, zero=False)
    embed_adapter(model, tmp_path / "adapter", tmp_path / "both")
    assert not (tmp_path / "both" / "pytorch_model.bin").exists()
    ids = torch.tensor([[5, 6, 7, 8]])
    plain = load_model(model)(ids).logits
    adapted = attach_adapter(load_model(model), tmp_path / "adapter")(ids).logits
    loaded = LlamaForCausalLM.from_pretrained(tmp_path / "both").eval()(ids).logits
    torch.testing.assert_close(loaded, adapted, rtol=0, atol=0)
    assert not torch.equal(loaded, plain)
    assert AutoTokenizer.from_pretrained(tmp_path / "both").chat_template
