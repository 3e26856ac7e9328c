import torch
from neobert import ParameterGroup
from neobert.testing import check_optimizer, make_context

from plugin_package.plugin import PluginOptions


def test_it_keeps_its_promises():
    check_optimizer(PluginOptions(lr=0.01))


def test_two_steps_by_hand():
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    groups = (ParameterGroup(role="vector", decay=True, parameters={"w": weight}),)
    options = PluginOptions(lr=0.1, betas=(0.5, 0.75), weight_decay=0.2)
    optimizer = options.build(make_context(parameter_groups=groups))
    weight.grad = torch.tensor([4.0, -1.0])
    optimizer.step()
    # Decay takes 0.1 * 0.2 of each weight, then 0.1 against the sign; the momentum is a quarter of the gradient.
    torch.testing.assert_close(weight.detach(), torch.tensor([0.98 - 0.1, -1.96 + 0.1]))
    torch.testing.assert_close(optimizer.state[weight]["momentum"], torch.tensor([1.0, -0.25]))
    weight.grad = torch.tensor([-2.0, 0.5])
    optimizer.step()
    # Half momentum and half gradient: -0.5 and 0.125. With other halves the signs would be others.
    torch.testing.assert_close(weight.detach(), torch.tensor([0.88 * 0.98 + 0.1, -1.86 * 0.98 - 0.1]))
    torch.testing.assert_close(optimizer.state[weight]["momentum"], torch.tensor([0.25, -0.0625]))
