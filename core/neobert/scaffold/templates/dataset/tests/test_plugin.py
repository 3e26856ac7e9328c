import pytest
from neobert import UserError
from neobert.testing import check_dataset

from plugin_package.markdown import sections
from plugin_package.plugin import PluginOptions


@pytest.fixture
def pattern(tmp_path):
    for number in range(8):
        text = "".join(f"# Part {number}.{part}\n\nWhat it says.\n\n" for part in range(8))
        (tmp_path / f"{number}.md").write_text(text, encoding="utf-8")
    return str(tmp_path / "*.md")


def test_it_keeps_its_promises(pattern):
    check_dataset(PluginOptions(path=pattern, heldout_share=0.2))


def test_every_section_is_in_one_split(pattern):
    splits = PluginOptions(path=pattern, heldout_share=0.2).build(None)
    assert {name: split.num_rows > 0 for name, split in splits.items()} == {"train": True, "eval": True}
    assert sum(split.num_rows for split in splits.values()) == 64
    assert "eval" not in PluginOptions(path=pattern, heldout_share=0.0).build(None)


def test_sections_begin_with_headings_outside_of_code():
    text = "before\n\n# One\n\nwords\n\n```sh\n# no heading\n```\n\n## Two\n\n#hashtag\n"
    assert list(sections(text)) == ["before", "# One\n\nwords\n\n```sh\n# no heading\n```", "## Two\n\n#hashtag"]
    assert list(sections(" \n\n")) == []


def test_no_file_is_said(tmp_path):
    with pytest.raises(UserError, match="matches no file"):
        PluginOptions(path=str(tmp_path / "*.md")).build(None)
