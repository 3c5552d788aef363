"""Hooks of a module's parameters, which both `deepcopy` and pickle leave out of copies.

`parameter.register_hook(lambda g: g.clamp(-1, 1))` clips gradients; without it a copy is trained in
another way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Hook = Callable[[Tensor], Any]


class ParameterHooks:
    """The hooks of a module's parameters; a pickle of it holds them, and gives them back."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __bool__(self) -> bool:
        return any(found for pair in self._by_name().values() for found in pair)

    def give(self, other: nn.Module, bound: Callable[[Any], Any]) -> None:
        """Register the hooks on the parameters of a copy.

        bound: returns a hook that refers to the copy instead of the module
        """
        _register(other, self._by_name(), bound)

    def _by_name(self) -> dict[str, tuple[list[Hook], list[Hook]]]:
        found = {}
        for name, parameter in self._module.named_parameters():
            kept = (
                list((parameter._backward_hooks or {}).values()),
                list((parameter._post_accumulate_grad_hooks or {}).values()),
            )
            if parameter.requires_grad and any(kept):
                found[name] = kept
        return found

    def __getstate__(self) -> Any:
        return self._module, self._by_name()

    def __setstate__(self, state: Any) -> None:
        self._module, hooks = state
        _register(self._module, hooks, lambda hook: hook)


def _register(
    module: nn.Module,
    hooks: dict[str, tuple[list[Hook], list[Hook]]],
    bound: Callable[[Any], Any],
) -> None:
    named = dict(module.named_parameters())
    for name, (on_gradient, after_gradient) in hooks.items():
        for hook in on_gradient:
            named[name].register_hook(bound(hook))
        for hook in after_gradient:
            named[name].register_post_accumulate_grad_hook(bound(hook))
