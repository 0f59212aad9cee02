from __future__ import annotations

from scripted import ScriptedLLM, crew


def test_a_crew_runs_without_a_network_and_without_a_key():
    llm = ScriptedLLM("teal")

    assert crew(llm).kickoff().raw == "teal"
    assert "colour" in llm.prompt()
