"""Index a folder and ask it questions: `python examples/ask_my_documents.py FOLDER "QUESTION" …`.

Everything stays on this machine: the folder is read by a worker without a network, kept in an encrypted vault,
and the answer comes with the sentences it rests on, or says that the documents do not hold it.
The passphrase comes from the file named by AGENTKIT_PASSPHRASE_FILE.
"""

from __future__ import annotations

import sys
from pathlib import Path

from agentkit import Agent, AgentkitError, Ending

NOTES = Path(__file__).parent / "notes"
QUESTIONS = ["When was the boiler inspected?", "Who won the chess world cup?"]


def main(arguments: list[str]) -> int:
    """Index the folder, then answer each question with its sources."""
    folder = Path(arguments[0]) if arguments else NOTES
    questions = arguments[1:] or QUESTIONS
    try:
        with Agent() as agent:
            summary = agent.index(folder)
            print(f"{folder.name}: {summary['indexed']} files indexed, {summary['unchanged']} unchanged")
            for question in questions:
                answer = agent.ask(question)
                print(f"\n{question}\n  {answer.text}")
                if answer.ending is Ending.NOT_FOUND:
                    continue
                print(f"  ({answer.confidence} confidence: {answer.confidence_reason})")
                for evidence in answer.evidence:
                    print(f"  - {Path(evidence.source).name} {evidence.place}: {evidence.quote}")
    except AgentkitError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
