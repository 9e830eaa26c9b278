"""The end of a campaign: counts compared, files combined, results where a person looks."""

from prefect import task

from pitboss.experiments import summary
from pitboss.experiments.runtime.plan import Plan
from pitboss.report.summary import SUMMARY, summary_rows
from pitboss.report.tables import markdown_table
from tasks.artifacts import show_markdown
from tasks.policies import STEP


@task(name="summary", **STEP)
def summarise(plan: Plan) -> None:
    """Compare expected with actual counts and write summary.json and the final files.

    Raises:
        Incomplete: A count differs; the summary is written and shown all the same.
    """
    store = plan.store
    try:
        summary.write(plan)
    finally:
        if (store.path / SUMMARY).is_file():
            found = store.read_json(SUMMARY)
            said = (*found["problems"], *found["shortfalls"], *found["warnings"])
            notes = [f"- {text}" for text in said]
            text = "\n".join(
                [markdown_table(summary_rows(found)), *notes, f"\nFiles: `{store.path}`"]
            )
            print(text)
            show_markdown(
                f"{plan.study.name}-summary", text, f"What study {plan.study.name} left behind"
            )
