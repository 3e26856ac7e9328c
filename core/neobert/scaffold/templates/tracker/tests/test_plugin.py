import pytest
from neobert.testing import check_tracker, make_context

from plugin_package.plugin import PluginOptions


@pytest.mark.parametrize("prefixes", [(), ("eval/",)])
def test_it_keeps_its_promises(prefixes):
    check_tracker(PluginOptions(prefixes=prefixes))


def logged(folder, step, **options):
    tracker = PluginOptions(**options).build(make_context(folder))
    tracker.log({"train/loss": 0.1 + 0.2, "eval/loss": float("nan")}, step)
    tracker.close()
    return (folder / "metrics.csv").read_text(encoding="utf-8").splitlines()


def test_rows_are_appended_below_one_header(tmp_path):
    logged(tmp_path, 1)
    rows = ["step,name,value", "1,train/loss,0.30000000000000004", "1,eval/loss,nan"]
    assert logged(tmp_path, 2, prefixes=("eval/",)) == [*rows, "2,eval/loss,nan"]


def test_half_a_row_is_ended(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,name,value\n1,train/lo", encoding="utf-8")
    assert logged(tmp_path, 1, prefixes=("eval/",))[1:] == ["1,train/lo", "1,eval/loss,nan"]
