import pytest
from neobert.testing import check_tokenizer, make_context

from plugin_package.plugin import PluginOptions


@pytest.mark.parametrize("lowercase", [False, True])
def test_it_keeps_its_promises(lowercase):
    check_tokenizer(PluginOptions(lowercase=lowercase))


@pytest.mark.parametrize("text", ["plain words", "naïve café", "日本語 \N{SNOWMAN}", "tabs\tand\nlines", ""])
def test_every_text_is_its_bytes_and_comes_back(text):
    tokenizer = PluginOptions().build(make_context())
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_the_size_is_known_beforehand():
    options = PluginOptions()
    assert len(options.build(make_context())) == options.known_vocab_size()
