"""Names of parts of a network, told without torch."""

from __future__ import annotations

__all__ = ["unusable_name"]

# What a `torch.nn.ModuleDict` or a `torch.nn.ParameterDict` has already; a test compares.
_TAKEN = """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile copy cpu cuda double
    dump_patches eval extra_repr float forward fromkeys get get_buffer get_extra_state get_parameter get_submodule half
    ipu items keys load_state_dict modules mtia named_buffers named_children named_modules named_parameters
    parameters pop popitem register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
    register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter register_state_dict_post_hook
    register_state_dict_pre_hook requires_grad_ set_extra_state set_submodule setdefault share_memory state_dict to
    to_empty train training type update values xpu zero_grad
"""


def unusable_name(name: str) -> str | None:
    """Return why no part of a network can have the name, which torch's containers would refuse; None if one can.

    Examples:
        >>> from auxlearn.registry import unusable_name
        >>> unusable_name("audio"), unusable_name("values")
        (None, 'torch uses this name itself')
        >>> unusable_name("v1.2")
        'there is a dot in it'
    """
    if not name:
        return "it is empty"
    if "." in name:
        return "there is a dot in it"
    return "torch uses this name itself" if name in _TAKEN.split() else None
