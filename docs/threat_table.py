"""The tables of docs/threat-model.md: each row of attack_drill/threats.py with its state, the tests that prove it and their sabotage.

If you rename or merge a test, rename it here; `python -m docs.generate` then writes the tables, and tests/unit/test_docs.py checks that every test exists.
"""

from __future__ import annotations

from dataclasses import dataclass

from attack_drill.threats import THREATS

PROVEN = "proven"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How far one row is proven. ``state``: `proven`, or `in part: ` and what is missing. ``tests`` and ``sabotage`` are pytest node ids."""

    state: str = PROVEN
    tests: tuple[str, ...]
    sabotage: tuple[str, ...]


# fmt: off
PROOFS = {
    "S1": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_source_gets_one_program.py::test_each_layer_alone_may_fail_without_opening_a_shell",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s1_s2_sabotage_without_any_layer_commands_run_and_channels_open",
        ),
    ),
    "S2": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s1_s2_sabotage_without_any_layer_commands_run_and_channels_open",
        ),
    ),
    "S3": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s3_sabotage_without_append_only_and_with_a_wide_identity_snapshots_are_lost",
        ),
    ),
    "S4": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_relay_http.py::test_the_storage_itself_refuses_a_delete_when_rclone_would_not",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s4_sabotage_without_append_only_it_breaks",
        ),
    ),
    "S5": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_relay_http.py::test_the_storage_itself_refuses_an_overwrite_when_rclone_would_not",
            "tests/enforced/test_uploads.py::test_s5_a_name_is_written_once_whoever_races",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s5_sabotage_without_both_walls_objects_are_overwritten",
            "tests/drill/test_s_rows.py::test_s5_sabotage_without_the_conditional_write_a_race_is_lost",
            "tests/enforced/test_uploads.py::test_s5_sabotage_without_the_condition_a_name_is_written_twice",
        ),
    ),
    "S6": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/gates/test_first_look.py::test_s6_the_own_folder_is_served",
            "tests/scripts/relay/test_first_look.py::test_s6_a_session_never_serves_the_folder_above",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s6_sabotage_served_from_the_buckets_root_others_are_read_and_written",
            "tests/gates/test_first_look.py::test_s6_sabotage_without_the_slash_the_folder_above_is_served",
        ),
    ),
    "S7": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s7_sabotage_with_rclones_words_left_to_the_source_the_storage_is_named",
        ),
    ),
    "S8": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/prune/test_prune.py::test_s8_forged_snapshots_are_refused_by_name_and_set_aside_they_displace_no_good_one",
            "tests/prune/test_prune.py::test_s8_a_burst_of_a_thousand_is_refused_and_displaces_nothing",
            "tests/unit/ops/prune/test_retention.py::test_s8_each_forgery_is_named_and_no_good_snapshot_is_dropped_for_it",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_s8_sabotage_a_prune_that_believes_what_snapshots_say_breaks",
            "tests/prune/test_prune.py::test_s8_sabotage_a_prune_that_trusts_claims_drops_good_snapshots",
        ),
    ),
    "S9": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/scripts/source/test_wrapper.py::test_bogus_keys_do_not_lock_out",
            "tests/recover/test_recover.py::test_s9_bogus_keys_do_not_matter_with_the_recorded_key_id_nor_with_the_oldest_key",
            "tests/recover/test_recover.py::test_garbage_that_no_name_betrays_is_found_by_the_check_and_an_earlier_moment_taken",
            "tests/prune/test_poison.py::test_s9_a_prune_refuses_until_what_is_new_was_read_and_found_good",
            "tests/prune/test_poison.py::test_s9_young_locks_are_waited_for_and_thousands_of_old_ones_removed",
            "tests/prune/test_poison.py::test_s9_poison_that_comes_while_restic_prunes_is_found_and_every_version_is_there_for_the_way_back",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_s9_sabotage_a_prune_that_reads_no_pack_breaks",
            "tests/drill/test_trusted_rows.py::test_s9_sabotage_without_the_key_hint_recovery_breaks",
            "tests/scripts/source/test_wrapper.py::test_sabotage_a_wrapper_without_the_key_hint_is_caught",
            "tests/recover/test_recover.py::test_sabotage_without_the_key_hint_bogus_keys_lock_out",
            "tests/prune/test_poison.py::test_s9_sabotage_a_prune_that_reads_nothing_loses_a_good_file_from_sight",
            "tests/prune/test_poison.py::test_s9_sabotage_a_prune_that_leaves_bogus_locks_does_not_run",
        ),
    ),
    "S10": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_steps.py::test_the_session_limit_answers_busy_and_spares_other_sources",
            "tests/scripts/relay/test_steps.py::test_limits_are_in_force_in_the_running_process",
            "tests/scripts/relay/test_upload_limit.py::test_a_source_is_cut_off_at_its_limit_told_why_and_goes_on_when_it_is_raised",
            "tests/integration/test_status_and_cut_off.py::test_s10_fast_growth_is_noticed",
            "tests/integration/test_status_and_cut_off.py::test_s10_s11_one_command_cuts_off_one_source_and_another_lets_it_in",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_s10_sabotage_with_more_sessions_than_promised_it_breaks",
            "tests/drill/test_trusted_rows.py::test_s10_sabotage_a_cut_off_that_does_not_reach_the_relay_breaks",
            "tests/drill/test_trusted_rows.py::test_s10_sabotage_where_the_kernel_counts_but_lets_through_it_breaks",
            "tests/scripts/relay/test_upload_limit.py::test_sabotage_without_the_kernels_rule_everything_is_taken",
        ),
    ),
    "S11": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_steps.py::test_a_stolen_key_is_refused_from_elsewhere",
            "tests/integration/test_lifecycle.py::test_a_source_is_removed_without_touching_the_others",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s11_sabotage_from_is_ignored_and_sessions_outlive_their_key",
        ),
    ),
    "R1": Proof(
        state="in part: proven on the local stack's storage and on a second S3 server, not yet tried on AWS",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r1_no_object_is_deleted",
            "tests/enforced/test_backup_works.py::test_r1_r2_rclone_itself_removes_nothing",
            "tests/sandbox/test_storage.py::test_a_source_deletes_no_data_and_no_version",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r1_sabotage_an_identity_that_may_delete_hides_every_object",
            "tests/enforced/test_relay_rows.py::test_r1_sabotage_objects_are_hidden",
            "tests/enforced/test_backup_works.py::test_sabotage_without_documents_rclone_hides_everything",
        ),
    ),
    "R2": Proof(
        state="in part: as R1; COMPLIANCE holds even where no policy does",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r2_no_version_is_deleted_and_no_lock_shortened",
            "tests/enforced/test_relay_rows.py::test_r2_compliance_keeps_every_version_when_no_document_binds",
            "tests/sandbox/test_storage.py::test_the_lock_is_compliance_and_holds_against_the_storages_own_root",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r2_sabotage_where_the_lock_can_be_bypassed_versions_are_lost",
            "tests/enforced/test_relay_rows.py::test_r2_sabotage_versions_are_lost",
            "tests/sandbox/test_storage.py::test_the_lock_proof_fails_on_a_bucket_without_a_lock",
        ),
    ),
    "R3": Proof(
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/recover/test_dates.py::test_r3_forged_dates_do_not_reach_into_the_view_of_the_past",
            "tests/integration/test_recovery.py::test_r3_a_destroyed_repository_restores_from_the_stacks_outputs_and_comes_back_for_the_source",
            "tests/recover/test_recover.py::test_r3_s9_after_the_whole_attack_restore_gives_back_every_byte_and_rebuild_the_live_repository",
            "tests/recover/test_recover.py::test_a_rebuild_cut_off_anywhere_is_finished_by_the_next",
            "tests/enforced/test_backup_works.py::test_r3_what_was_there_before_restores_whatever_the_attacker_wrote",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r3_sabotage_without_versions_nothing_is_left_to_go_back_to",
            "tests/recover/test_recover.py::test_sabotage_without_the_view_of_the_past_the_restore_fails",
            "tests/recover/test_recover.py::test_sabotage_a_rebuild_that_skips_overwritten_objects_is_caught",
            "tests/enforced/test_backup_works.py::test_r3_sabotage_without_versions_the_attacker_wins",
            "tests/recover/test_dates.py::test_r3_sabotage_by_the_dates_that_the_storage_tells_the_way_back_is_lost",
            "tests/drill/test_r_rows.py::test_r3_sabotage_by_dates_that_an_attacker_chose_recovery_fails",
        ),
    ),
    "R4": Proof(
        state="in part: as R1; no server here knows public access block",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r4_the_bucket_stays_as_it_is",
            "tests/sandbox/test_storage.py::test_a_source_changes_no_retention_and_no_bucket_setting",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r4_sabotage_an_identity_with_all_rights_changes_the_bucket",
            "tests/enforced/test_relay_rows.py::test_r4_sabotage_the_bucket_is_changed",
            "tests/sandbox/test_storage.py::test_the_identity_proof_fails_with_a_wider_policy",
        ),
    ),
    "R5": Proof(
        state="in part: as R1; the cap on who may extend locks: on the local stack's storage",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r5_nothing_is_locked_for_decades",
            "tests/enforced/test_statements.py::test_r5_even_who_may_extend_locks_cannot_go_beyond_the_cap",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r5_sabotage_an_identity_that_sets_retention_locks_for_decades",
            "tests/enforced/test_relay_rows.py::test_r5_sabotage_decades_are_locked",
        ),
    ),
    "R6": Proof(
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r6_sabotage_a_password_on_the_relay_is_found",
        ),
    ),
    "R7": Proof(
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/sandbox/test_network.py::test_relay_reaches_no_source_and_not_the_workstation",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r7_sabotage_a_key_that_opens_a_source_is_found",
            "tests/drill/test_r_rows.py::test_r7_sabotage_where_the_network_lets_the_relay_through_it_reaches_a_source",
            "tests/sandbox/test_network.py::test_the_proof_fails_when_the_rules_are_gone",
        ),
    ),
    "R8": Proof(
        state="in part: as R1",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_prefixes.py::test_r8_another_sources_prefix_cannot_be_listed_read_written_or_emptied",
            "tests/sandbox/test_storage.py::test_a_source_is_refused_outside_its_prefix",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r8_sabotage_an_identity_for_the_whole_bucket_reaches_another_prefix",
            "tests/enforced/test_prefixes.py::test_r8_sabotage_with_a_wider_prefix_the_others_are_within_reach",
        ),
    ),
    "A1": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a1_sabotage_a_source_without_the_pin_falls_for_the_impostor",
        ),
    ),
    "A2": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/integration/test_operator_rows.py::test_no_secret_was_seen_in_a_command_line_or_environment",
            "tests/integration/test_operator_rows.py::test_no_secret_is_in_the_output_of_up",
            "tests/unit/ops/test_private_folder.py::test_a_killed_verbs_secrets_are_gone_at_once",
            "tests/unit/ops/hosts/test_endpoints.py::test_ssh_gets_the_agent_and_nothing_of_the_engines_environment",
            "tests/unit/settings/test_secrecy.py::test_passwords_and_storage_keys_stay_secret",
            "tests/unit/settings/test_secrecy.py::test_a_passphrase_where_a_name_belongs_is_not_repeated",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a2_sabotage_a_secret_in_any_of_four_careless_places_is_found",
            "tests/integration/test_operator_rows.py::test_the_watch_would_have_seen_one",
            "tests/unit/settings/test_secrecy.py::test_sabotage_errors_that_quote_plain_words_repeat_a_passphrase",
        ),
    ),
    "A3": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/integration/test_operator_rows.py::test_an_sshd_configuration_that_cannot_be_dialled_is_rolled_back",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a3_sabotage_without_guard_and_comparison_the_admin_is_locked_out",
        ),
    ),
    "A4": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a4_sabotage_with_a_low_floor_and_a_step_that_does_not_compare_old_parts_are_taken",
        ),
    ),
    "A5": Proof(
        state="in part: on the local stack `pulumi destroy` is refused, and the storage's own administrator deletes no locked version"
        "; not tried on AWS; with `--skip-preview` what is not protected goes",
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/integration/test_zz_destroy.py::test_destroy_leaves_nothing",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a5_sabotage_a_program_that_protects_nothing_and_a_bucket_that_locks_nothing_are_caught",
        ),
    ),
    "A6": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_second_factor.py::test_totp_opens_with_the_code_and_not_without_it",
            "tests/scripts/relay/test_second_factor.py::test_fido2_opens_with_touch_and_pin_and_with_nothing_less",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a6_sabotage_without_the_question_a_stolen_key_comes_in",
            "tests/scripts/relay/test_second_factor.py::test_sabotage_a_person_without_a_secret_is_refused_not_waved_through",
            "tests/scripts/relay/test_second_factor.py::test_sabotage_without_verify_required_a_stolen_device_needs_no_pin",
        ),
    ),
    "A7": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/integration/test_lifecycle.py::test_an_up_that_was_killed_in_the_middle_is_finished_by_the_next",
            "tests/scripts/relay/test_steps.py::test_a_killed_step_is_completed_by_the_next_run",
            "tests/prune/test_killed.py::test_a_prune_killed_anywhere_is_finished_by_the_next",
            "tests/scripts/source/test_failures.py::test_a_connection_cut_in_the_middle_is_an_outage_and_the_next_run_goes_on",
        ),
        sabotage=(
            "tests/scripts/source/test_schedule.py::test_sabotage_a_script_that_remembers_instead_of_asking_is_caught",
            "tests/drill/test_a_rows.py::test_a7_sabotage_a_step_that_takes_the_half_for_the_whole_is_caught",
            "tests/prune/test_killed.py::test_sabotage_without_the_note_of_intent_a_killed_prune_is_taken_for_an_attack",
        ),
    ),
    "A8": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/integration/test_status_and_cut_off.py::test_a8_silence_is_noticed_by_the_storages_own_time",
            "tests/integration/test_status_and_cut_off.py::test_status_uses_no_password",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_a8_sabotage_a_status_with_a_stopped_clock_breaks",
            "tests/unit/ops/status/test_health.py::test_a8_sabotage_a_snapshot_that_was_hidden_does_not_count_as_a_backup",
        ),
    ),
    "A9": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/scripts/source/test_contents.py::test_paths_of_which_nothing_would_be_stored_are_refused_so_that_the_storages_own_alarms_ring",
            "tests/scripts/source/test_contents.py::test_a_run_tells_each_path_that_it_did_not_store",
            "tests/scripts/source/test_contents.py::test_a_path_that_lost_its_files_is_told_until_somebody_accepts_it",
            "tests/scripts/source/test_contents.py::test_a_run_that_cannot_read_some_files_is_partial_and_fails_after_a_week",
            "tests/restore_test/test_restore_test.py::test_a_backup_without_its_files_fails_the_restore_test",
            "tests/unit/settings/test_patterns.py::test_what_restic_refuses_the_preview_refuses",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a9_sabotage_a_run_that_says_success_is_caught",
            "tests/scripts/source/test_contents.py::test_sabotage_a_run_that_does_not_look_says_success",
            "tests/scripts/source/test_contents.py::test_sabotage_a_run_that_takes_the_last_snapshot_for_the_measure_is_caught",
            "tests/unit/settings/test_patterns.py::test_sabotage_a_preview_that_reads_no_classes_is_caught",
        ),
    ),
    "A10": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_storage_proof.py::test_every_weakness_is_found_and_all_are_told_at_once",
            "tests/scripts/relay/test_storage_proof.py::test_all_rights_are_found_on_minio_and_none_was_used",
            "tests/scripts/relay/test_storage_proof.py::test_on_versitygw_as_on_minio",
            "tests/scripts/relay/test_storage_proof.py::test_on_ceph_what_it_does_not_hold_is_named",
            "tests/scripts/relay/test_storage_gates.py::test_a_condition_that_is_not_held_is_told_and_the_rest_passes",
            "tests/scripts/relay/test_storage_gates.py::test_what_cannot_work_is_refused_by_name",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a10_sabotage_a_step_that_does_not_try_what_it_needs_lets_weak_storages_pass",
            "tests/scripts/relay/test_storage_proof.py::test_sabotage_without_a_part_of_the_proof_its_weakness_is_not_found",
            "tests/gates/test_rules.py::test_without_a_checksum_no_upload_is_taken",
        ),
    ),
}
# fmt: on


def _cell(text: str) -> str:
    """As the row says it, with nothing that Markdown would take for its own."""
    return text.replace("|", "\\|").replace("*", "\\*")


def rows(boundary: str) -> str:
    """One line for each row of a boundary: S, R or A."""
    lines = ["| row | the attacker tries | must happen | state |", "| --- | --- | --- | --- |"]
    if boundary == "A":
        lines[0] = "| row | case | must happen | state |"
    lines += [
        f"| {threat.id} | {_cell(threat.tries)} | {_cell(threat.must)} | {PROOFS[threat.id].state} |"
        for threat in THREATS
        if threat.id[0] == boundary
    ]
    return "\n".join(lines)


def proofs() -> str:
    lines = ["| row | tried by | sabotage |", "| --- | --- | --- |"]
    for threat in THREATS:
        proof = PROOFS[threat.id]
        tests, sabotage = (", ".join(f"`{test}`" for test in some) for some in (proof.tests, proof.sabotage))
        lines.append(f"| {threat.id} | {tests} | {sabotage} |")
    return "\n".join(lines)


def state() -> str:
    """The project's state in one line. Every row that is not proven lacks AWS: tests/unit/test_docs.py holds that to be so."""
    proven = [row for row, proof in PROOFS.items() if proof.state == PROVEN]
    open_ = [row for row in PROOFS if row not in proven]
    return (
        f"**{len(proven)} of {len(PROOFS)} attacks are tried against real servers**, each with a sabotage that makes its test fail; "
        f"the other {len(open_)} ({', '.join(open_)}) hold on local servers and need a trial on AWS: [threat model](docs/threat-model.md)."
    )
