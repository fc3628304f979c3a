"""An import-linter contract for a layer whose members are whatever is left over.

Every module straight under ``package`` that is not named in ``lower`` belongs to the shell, so that a new one needs no
entry anywhere; nothing in ``below`` may import it.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ShellContract(Contract):
    """``package``: whose children are divided; ``lower``: children that are no shell; ``below``: who may not import it.

    Direct imports are enough: what stands between is either of ``below`` and judged itself, or above, where the layers
    contract keeps it out.
    """

    package = fields.StringField()
    lower = fields.ListField(subfield=fields.StringField())
    below = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Kept, or broken with the imports that break it."""
        package, lower, roots = str(self.package), _names(self.lower), _names(self.below)
        below = {module for root in roots for module in {root, *graph.find_descendants(root)}}
        illegal = [
            f"{importer} -> {shell}"
            for child in sorted(graph.find_children(package) - lower)
            for shell in sorted({child, *graph.find_descendants(child)})
            for importer in sorted(graph.find_modules_that_directly_import(shell) & below)
        ]
        return ContractCheck(kept=not illegal, metadata={"illegal": illegal})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """The offending imports, one a line."""
        for line in check.metadata["illegal"]:
            output.print_error(f"- {line}")


def _names(field: object) -> set[str]:
    # import-linter declares a field on the class and puts a plain list of it on the instance
    assert isinstance(field, list)
    return set(field)
