"""Print the table of faults in docs/trust.md, counted from the tests: `python tests/tools/faults.py`."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
FAULTS = {  # test -> fault, what it hits, what the user sees (an example)
    "test_a_damaged_file_is_named_with_the_stage_that_makes_it": (
        "a file missing, cut in half, or with one flipped bit",
        "sources, teacher, lexicon, corpus, states, senses, targets, student, benchmarks",
        "artifacts/senses/senses.safetensors has changed since it was written: delete artifacts/senses and run "
        "`dvc repro senses`; if the change is meant, delete artifacts/senses/SHA256SUMS",
    ),
    "test_a_value_that_nothing_can_be_made_with_is_named": (
        "values that nothing can be made with",
        "params.yaml",
        "objectives.dskd cannot be trained so: … is no finite number; lower distill.learning_rate, …",
    ),
    "test_no_flipped_bit_of_the_lexicon_gives_another_lexicon": (
        "one flipped bit, at every fifth byte",
        "lexicon",
        "artifacts/lexicon.parquet is not a lexicon: make it with `dvc repro lexicon` or `python -m dskd lexicon`",
    ),
    "test_a_damaged_checkpoint_is_named_and_without_it_the_run_goes_on": (
        "the same damage to the checkpoint of a stopped run",
        "a student's tensors and history",
        "artifacts/students/.dskd-0.partial/.work/checkpoint-000000004/tensors.safetensors has changed since it was "
        "written: delete … and run `dvc repro distill` (it begins anew)",
    ),
    "test_dvc_puts_the_right_bytes_back": (
        "one flipped bit, then `dvc repro`",
        "senses as a copy, and as a link into DVC's cache",
        "`dvc status` names artifacts/senses; where the cache is damaged too: run `find $(dvc cache dir) -samefile "
        "artifacts/senses/senses.safetensors -delete`, since DVC's cache shares its bytes, then delete …",
    ),
    "test_of_two_runs_the_second_says_that_the_first_is_at_work": (
        "two runs at once",
        "states",
        "another run is writing artifacts/states (process 4711 on machine): wait for it or stop it",
    ),
    "test_two_students_are_trained_at_once_and_one_is_not_trained_twice": (
        "two runs at once",
        "one student; two students are no fault",
        "another run is writing artifacts/students/dskd-0 (process 4711 on machine): wait for it or stop it",
    ),
    "test_of_two_dvc_repro_the_second_names_the_first": (
        "two `dvc repro` at once",
        "any stage",
        "DVC's own: failed to reproduce 'slow': 'out' is busy, it is being blocked by: (PID 4711): dvc repro",
    ),
    "test_a_killed_run_blocks_no_other": ("a run killed while it wrote", "senses", "nothing: the next run writes"),
    "test_on_a_full_disk_a_stage_says_so_and_goes_on_when_there_is_room": (
        "the disk is full",
        "every stage's output, at its beginning and amid it",
        "disk full while writing artifacts/.states.partial/train-00001.safetensors (0 MB free): make room and run "
        "again",
    ),
    "test_curves_that_find_no_room_are_the_same_error": (
        "the disk is full",
        "reports/curves",
        "disk full while writing reports/curves/dskd-0 (0 MB free): make room and run again",
    ),
    "test_a_notebook_that_finds_no_room_is_one_line": (
        "the disk is full",
        "reports/notebooks",
        "disk full while writing reports/notebooks/lexicon.ipynb (0 MB free): make room and run again",
    ),
    "test_in_a_folder_that_may_not_be_written_a_stage_says_so": (
        "a folder that is read-only",
        "every stage's output",
        "cannot write artifacts/states (Read-only file system): allow writing in artifacts",
    ),
    "test_an_index_that_fails_is_one_line_and_a_sound_one_goes_on": (
        "the package index does not answer, answers with a page, 403, 404 or 500, or breaks off",
        "sources",
        "pypi:tiny==1.0!tiny/dump: the package index could not be reached: check the network and `pip config list`, "
        "and run again; its last line: …",
    ),
    "test_an_index_that_has_another_wheel_of_that_name_is_one_line_and_a_sound_one_is_taken": (
        "the package index has other content",
        "sources",
        "pypi:tiny==1.0!tiny/dump: tiny-1.0-py3-none-any.whl has SHA-256 41ff…, expected efde…",
    ),
    "test_a_hub_that_fails_as_a_source_is_one_line": (
        "the hub does not answer, answers with a page, 403, 404 or 500, breaks off, or has other content",
        "sources",
        "hf:o/silent@v1!sub/w.bin: could not be had from … (check that it answers and that your HF_TOKEN may read "
        "there, and run again); ReadTimeout: timed out",
    ),
    "test_a_server_that_fails_as_a_source_is_one_line_and_a_sound_one_goes_on": (
        "another server does not answer, answers with a page, 403, 404 or 500, or breaks off",
        "sources",
        "https://host/dump answered 404 Not Found; check the network and the address, or fetch the file by other means "
        "and write file:PATH as the source in params.yaml, with the same sha256",
    ),
    "test_whatever_templates_take_from_the_parameters_is_one_word_of_a_command": (
        "names in params.yaml that a shell, dskd or DVC could take for more",
        "every command with a template in dvc.yaml",
        "nothing runs but the stage, which refuses the name",
    ),
    "test_ordinary_names_give_the_commands_that_dvc_lock_has": ("ordinary names", "the same", "no stage runs again"),
    "test_a_mapping_or_list_in_the_place_of_a_name_is_refused_by_dvc": (
        "a mapping or a list in the place of such a name",
        "the same",
        "DVC's own: Cannot interpolate data of type 'dict'",
    ),
    "test_dvc_deletes_nothing_that_a_name_leads_to": (
        "such a name that leads out of its folder, or of the project",
        "every output with a template in dvc.yaml",
        "all is as it was; the stage refuses the name",
    ),
    "test_a_profile_with_a_hostile_name_is_one_line_and_changes_nothing": (
        "such names in a profile",
        "params.yaml",
        "profiles/own.yaml: objectives: '$(touch pwned)' cannot name files: write letters, digits, _ and -",
    ),
    "test_an_argument_that_is_no_name_number_or_text_is_one_line": (
        "names that are paths or options, numbers without bounds, text that is not UTF-8",
        "the command line",
        "--seed 1180591620717411303424: it takes a number from 0 to 4294967295",
    ),
    "test_too_few_open_files_are_one_line_unless_more_may_be_had": (
        "too few files may be open at a time",
        "every command",
        "only 32 files may be open at a time, 256 are needed: run `ulimit -n 1024` first",
    ),
    "test_a_terminal_that_knows_ascii_alone_shows_the_rest_as_numbers": (
        "a terminal that knows ASCII alone",
        "every command",
        r"the rest as numbers: caf\xe9",
    ),
    "test_a_run_goes_on_without_benchmarks_that_the_hub_fails_to_give": (
        "the same, and no connection",
        "benchmarks",
        "arc_easy: not available; … (and the run goes on; the report has the reason and the way out)",
    ),
}


def main() -> None:
    paths = sorted(str(path) for path in (ROOT / "tests/whole").glob("test_faults*.py"))
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    cases = Counter(line.partition("::")[2].partition("[")[0] for line in listed if "::" in line)
    rows = [(*FAULTS[name], number) for name, number in cases.items()]
    print(pd.DataFrame(rows, columns=["fault", "where", "what the user sees", "cases"]).to_markdown(index=False))
    print(f"\n{sum(cases.values())} cases.")


if __name__ == "__main__":
    main()
