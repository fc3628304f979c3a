"""axe-core, a second and foreign opinion on our pages beside page_audit.js."""

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page


def axe_findings(page: Page) -> list[str]:
    """Rules that the page breaks, of whatever impact, with the elements; empty when all is well."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert found["passes"], "axe looked at nothing"
    return [
        f"axe {rule['id']} ({rule['impact']}): {node['html'][:160]} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
