"""Every role keeps to the house's rules: one place for a variable, short files, named tasks."""

import re
from pathlib import Path
from typing import Any

import jinja2.meta
import pytest
import role_docs
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())
TASK_FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml"))
LONGEST_TASK_FILE = 75
# Roles that do what their arguments say, and have no settings of their own.
WITHOUT_CHOICES = {"gates", "release", "removal", "volumes"}


class Filters(dict[str, Any]):
    """Filters and tests by any name: Ansible's are not needed to see which variables are read."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name) or str


JINJA = jinja2.Environment()
JINJA.filters, JINJA.tests = Filters(JINJA.filters), Filters(JINJA.tests)
# What Ansible itself tells a role.
OF_ANSIBLE = {
    "ansible_check_mode",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_failed_result",
    "ansible_failed_task",
    "ansible_host",
    "ansible_managed",
    "ansible_play_hosts",
    "ansible_playbook_python",
    "hostvars",
    "omit",
    "inventory_hostname",
    "item",
    "now",
    "lookup",
    "role_path",
}
# What a helper offers to the roles that import it: what confines a unit, what goes with the role,
# and whether that is only checked.
OF_HELPERS = {
    "gates": {"gates_problems"},
    "updates": {"updates_found"},
    "removal": {"removal_check_only"},
    "service": {
        "service_sandbox",
        "service_packages_brought",
        "service_packages_links",
        "service_packages_users",
    },
}

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
every_task_file = pytest.mark.parametrize(
    "tasks", TASK_FILES, ids=lambda path: str(path.relative_to(ROOT))
)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


# They are called by other roles, with variables that these have checked.
HELPERS = {"gates", "release", "removal", "service"}


def specified(role: Path) -> dict[str, dict[str, Any]]:
    """Every entry point's options."""
    options: dict[str, dict[str, Any]] = {}
    for spec in load(role / "meta/argument_specs.yml")["argument_specs"].values():
        options |= spec.get("options", {})
    return options


def flatten(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks and those in their blocks, with what a block says of where they run."""
    found = []
    for task in tasks:
        found.append(task)
        where = {"delegate_to": task["delegate_to"]} if "delegate_to" in task else {}
        for part in ("block", "rescue", "always"):
            found += flatten([where | it for it in task.get(part, [])])
    return found


@every_role
def test_defaults_and_specs_say_the_same_variables(role: Path) -> None:
    required = {name for name, option in specified(role).items() if option.get("required")}
    assert set(load(role / "defaults/main.yml")) == set(specified(role)) - required


@every_role
def test_defaults_describe_each_variable_as_the_specs_do(role: Path) -> None:
    comment: list[str] = []
    described = {}
    for line in (role / "defaults/main.yml").read_text().splitlines():
        if line.startswith("#"):
            comment.append(line.removeprefix("#").strip())
        elif match := re.match(r"(\w+):", line):
            described[match[1]] = " ".join(comment)
            comment = []
    options = specified(role)
    assert described == {name: options[name]["description"] for name in described}


@every_role
def test_readme_holds_the_table_of_the_specs(role: Path) -> None:
    # tools/role_docs.py writes it.
    assert role_docs.table(role) in (role / "README.md").read_text()


@every_role
def test_variables_carry_the_roles_name(role: Path) -> None:
    internal = load(role / "vars/main.yml") if (role / "vars/main.yml").exists() else {}
    assert [name for name in specified(role) if not name.startswith(f"{role.name}_")] == []
    assert [name for name in internal if not name.startswith(f"__{role.name}_")] == []


@every_role
def test_no_variable_is_unused(role: Path) -> None:
    definitions = definitions_of(role)
    used = read_by(role)
    assert sorted(definitions - used - OF_HELPERS.get(role.name, set())) == []


@every_role
def test_a_role_reads_its_own_variables_alone(role: Path) -> None:
    # Neither groups, nor what an inventory says of its hosts, nor another role's; and none that
    # nobody defines.
    offered = set().union(*(OF_HELPERS.get(name, set()) for name in imported_by(role)))
    assert sorted(read_by(role) - definitions_of(role) - OF_ANSIBLE - offered) == []


def imported_by(role: Path) -> set[str]:
    """The roles that a role imports: these are known to its templates too."""
    tasks = [task for path in role.glob("tasks/*.yml") for task in flatten(load(path))]
    return {
        task["ansible.builtin.import_role"]["name"]
        for task in tasks
        if "ansible.builtin.import_role" in task
    }


def definitions_of(role: Path) -> set[str]:
    """The variables that a role defines: arguments, constants, and what its tasks note."""
    constants = role / "vars/main.yml"
    names = set(specified(role)) | set(load(constants) if constants.exists() else ())
    for path in role.glob("tasks/*.yml"):
        for task in flatten(load(path)):
            names |= {task["register"]} if "register" in task else set()
            names |= set(task.get("ansible.builtin.set_fact", ()))
            names |= {task.get("loop_control", {}).get("loop_var", "item")}
            if "ansible.builtin.import_role" not in task:
                names |= set(task.get("vars", ()))
    # How a task connects, for one.
    return {name for name in names if not name.startswith("ansible_")} - {"item"}


def read_by(role: Path) -> set[str]:
    """The variables that the expressions of a role's files read."""
    names: set[str] = set()
    for path in role.glob("templates/*"):
        names |= undeclared(path.read_text())
    for folder in ("tasks", "vars", "defaults"):
        for path in role.glob(f"{folder}/*.yml"):
            names |= read_in(load(path))
    return names


def read_in(value: Any, key: str = "") -> set[str]:
    """The variables that the expressions in a file's content read."""
    if isinstance(value, dict):
        return set().union(*(read_in(it, key) for key, it in value.items()))
    if isinstance(value, list):
        return set().union(*(read_in(it, key) for it in value))
    bare = key in {"when", "that", "until", "changed_when", "failed_when"}
    of_other_hosts = set(re.findall(r"selectattr\('(__\w+)'", str(value)))
    return of_other_hosts | undeclared(f"{{{{ {value} }}}}" if bare else str(value))


def undeclared(template: str) -> set[str]:
    return jinja2.meta.find_undeclared_variables(JINJA.parse(template))


@pytest.mark.parametrize(
    "role",
    [role for role in ROLES if role.name not in HELPERS],
    ids=lambda role: role.name,
)
def test_every_role_can_be_checked_by_itself(role: Path) -> None:
    assert changing(role / "tasks/preflight.yml") == []
    # So that ansible/check.yml compares the types too.
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    assert specs["preflight"]["options"] == specs["main"]["options"]


def changing(tasks: Path) -> list[str]:
    """The tasks of a file that may change the host."""
    reading = {"name", "register", "when", "vars", "failed_when"}
    reading |= {f"ansible.builtin.{module}" for module in ("slurp", "stat", "fail", "set_fact")}
    found = []
    for task in flatten(load(tasks)):
        imported = task.pop("ansible.builtin.import_role", None)
        if imported:
            found += changing(ROOT / f"roles/{imported['name']}/tasks/{imported['tasks_from']}.yml")
        included = task.pop("ansible.builtin.include_tasks", None)
        found += changing(tasks.with_name(included)) if included else []
        # Modules of ours change nothing in check mode.
        reads = set(task) <= reading or task.get("check_mode") is True
        found += [] if reads else [task["name"]]
    return found


@pytest.mark.parametrize(
    "role",
    [role for role in ROLES if role.name not in HELPERS],
    ids=lambda role: role.name,
)
def test_every_role_can_be_taken_off(role: Path) -> None:
    assert (role / "tasks/remove.yml").exists()
    assert "remove" in load(role / "meta/argument_specs.yml")["argument_specs"]
    assert "\n## Removal\n" in (role / "README.md").read_text()


@every_role
def test_every_role_has_a_molecule_scenario_and_says_how_to_run_it(role: Path) -> None:
    assert (role / "molecule/default/molecule.yml").exists()
    if role.name not in WITHOUT_CHOICES:
        assert (role / "molecule/alternative/molecule.yml").exists()
    assert f"cd roles/{role.name} && molecule test" in (role / "README.md").read_text()


@every_task_file
def test_task_files_are_short(tasks: Path) -> None:
    assert len(tasks.read_text().splitlines()) <= LONGEST_TASK_FILE


@every_task_file
def test_task_names_begin_with_their_file(tasks: Path) -> None:
    names = [task.get("name", "a task without a name") for task in flatten(load(tasks))]
    if tasks.name in ("main.yml", "deploy.yml"):
        assert [name for name in names if not re.match(r"[A-Z]", name)] == []
        return
    prefix = f"{tasks.stem.capitalize()} | "
    assert [name for name in names if not name.startswith(prefix)] == []


@every_role
def test_no_umask_changes_the_rights_of_folders_and_of_what_is_above_them(role: Path) -> None:
    # Ansible gives a folder that it makes above another one the same owner and rights, or root's
    # umask: closed to the other services that have folders there.
    tasks = [task for path in sorted(role.glob("tasks/*.yml")) for task in flatten(load(path))]
    made = [
        task
        for task in tasks
        if task.get("ansible.builtin.file", {}).get("state") == "directory"
        # The operator's machine has one user.
        and task.get("delegate_to") != "localhost"
    ]
    for task in made:
        given = task["ansible.builtin.file"]
        assert {"owner", "group", "mode"} <= set(given), task["name"]
        assert "omit" not in f"{given}", task["name"]
    chosen = [task for task in made if re.search(r"_(dirs?|root|folders)\b", str(task))]
    imported = [task.get("ansible.builtin.import_role", {}).get("tasks_from") for task in tasks]
    # Role release makes folders directly under /opt.
    assert not chosen or role.name == "release" or "parents" in imported


@every_role
def test_a_role_has_no_handlers(role: Path) -> None:
    # A run that is cut off loses them: what is to be restarted is seen on the host (role service).
    assert list(role.glob("handlers/*")) == []


@every_role
def test_a_service_knows_why_it_may_fail(role: Path) -> None:
    for task in [it for path in role.glob("tasks/*.yml") for it in flatten(load(path))]:
        imported = task.get("ansible.builtin.import_role", {})
        if imported.get("name") == "service" and "tasks_from" not in imported:
            assert task["vars"]["service_reasons"] == f"{{{{ __{role.name}_reasons }}}}"
            reasons = load(role / "vars/main.yml")[f"__{role.name}_reasons"]
            assert all(re.compile(reason["pattern"]) and reason["say"] for reason in reasons)


def steps_of_the_site() -> list[tuple[str, str]]:
    """What ansible/site.yml does, in order: playbooks, and roles with what they are to do."""
    steps = []
    for play in load(ROOT / "ansible/site.yml"):
        if "ansible.builtin.import_playbook" in play:
            steps.append((play["ansible.builtin.import_playbook"], ""))
        for task in play.get("tasks", ()):
            role = task.get("ansible.builtin.import_role") or task["ansible.builtin.include_role"]
            steps.append((role["name"], role["tasks_from"]))
        assert "roles" not in play, play["name"]
    return steps


def test_the_site_checks_every_role_first_and_then_deploys_it() -> None:
    (first, _), *others = steps_of_the_site()
    assert first == "check.yml"
    deployed = {name for name, tasks in others if tasks}
    assert {tasks for _, tasks in others if tasks} == {"deploy"}
    checked = [
        task.get("ansible.builtin.import_role") or task.get("ansible.builtin.include_role")
        for play in load(ROOT / "ansible/check.yml")
        for task in play["tasks"]
    ]
    named = {it["name"] for it in checked if it and it["tasks_from"] == "preflight"}
    assert deployed == named == {role.name for role in ROLES} - HELPERS


@pytest.mark.parametrize(
    "role",
    [role for role in ROLES if role.name not in HELPERS],
    ids=lambda role: role.name,
)
def test_a_role_by_itself_checks_and_deploys(role: Path) -> None:
    imported = [task["ansible.builtin.import_tasks"] for task in load(role / "tasks/main.yml")]
    assert imported == ["preflight.yml", "deploy.yml"]


def test_workers_that_wait_for_a_restart_have_it_before_the_job_is_started() -> None:
    # After an upgrade of Java they start no executors, and the job cannot come up.
    steps = [name for name, _ in steps_of_the_site()]
    workers, rolled = steps.index("spark_worker"), steps.index("rolling_spark.yml")
    assert workers < rolled < steps.index("streaming")


def test_no_errors_are_ignored() -> None:
    files = [*(ROOT / "roles").glob("*/*/*.yml"), *(ROOT / "ansible").glob("*.yml")]
    assert [str(path) for path in files if "ignore_errors" in path.read_text()] == []


def test_the_page_takes_the_duckdb_that_the_producer_brings() -> None:
    # One release on a host, which a removal of either would take from the other.
    page, producer = (
        load(ROOT / f"roles/{it}/defaults/main.yml") for it in ("dashboard", "producer")
    )
    assert page["dashboard_duckdb_version"] == producer["producer_duckdb_version"]
