"""What the project's page shows of accepting."""

from __future__ import annotations

from backends.autoaccept.page import page
from backends.serving.templating import TEMPLATES
from tests.backends.autoaccept.conftest import World


def shown(world: World) -> str:
    template = TEMPLATES.get_template("autoaccept.html")
    return template.render(page=page(world.store, world.key), project_id="7", key=world.key)


def test_nothing_yet(world: World) -> None:
    assert page(world.store, world.key) is None


def test_audits_the_certificate_the_log_and_the_alarm(world: World) -> None:
    world.run()
    assert "No certificate is in force." in shown(world)
    assert 'to be labelled in the tab "Audit these"' in shown(world).replace("&#34;", '"')
    found = world.certified()
    told = shown(world)
    assert f"Certificate <code>{found.id}</code>" in told
    assert "at most 10.00% of what is accepted is wrong" in told
    assert "an overlap below 0.50" in told
    assert f"{found.accepted.accepted} tasks accepted" in told
    assert told.count("<tr><td>") == 10
    world.store.note(world.key, suspended="of 5 <b>checks</b> all were wrong")
    assert "Suspended.</strong> of 5 &lt;b&gt;checks" in shown(world)
    world.undo()
    assert "taken back" in shown(world)
    assert "Suspended" not in shown(world)
