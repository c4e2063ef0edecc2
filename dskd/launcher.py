"""The file that `launch.config` names: whether many processes of a stage can be started by it."""

from accelerate.commands.config.config_args import load_config_from_file

from dskd.artifacts import UserError, one_line
from dskd.params import Launch

# Of accelerate's types; MULTI_GPU is for processors too. By NO and MULTI_CPU it would start one process that counts as
# none of many and starts the next; the others split a model in their own way.
TAKEN = ("MULTI_GPU", "FSDP")


def check_launch(settings: Launch) -> None:
    """Nothing is checked where the file is not used, as with one process.

    Raises:
        UserError: accelerate cannot read the file, or it asks for DeepSpeed or another type that is none of `TAKEN`.
    """
    if settings.processes == 1 or settings.config is None:
        return
    try:
        kind = load_config_from_file(settings.config).distributed_type
    except Exception as error:  # of its own, the file system's, and those of a parser that meets anything
        raise UserError(f"launch.config: {settings.config} cannot be used: {one_line(error)[:300]}") from None
    if kind not in TAKEN:
        kind = getattr(kind, "value", kind)  # a bare NO is read as false
        raise UserError(
            f"launch.config: {settings.config} has `distributed_type: {kind}`; it takes {' or '.join(TAKEN)} "
            "(MULTI_GPU with or without GPUs; docs/launch has a file for each)"
        )
