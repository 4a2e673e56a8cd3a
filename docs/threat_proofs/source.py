"""What proves the rows S: a compromised source."""

from __future__ import annotations

from docs.threat_proofs.proof import Proof

# fmt: off
SOURCE = {
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
            "tests/enforced/test_uploads.py::test_s5_a_name_is_written_only_once_even_in_a_race",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s5_sabotage_without_append_only_and_conditional_writes_objects_are_overwritten",
            "tests/drill/test_s_rows.py::test_s5_sabotage_without_the_conditional_write_a_race_is_lost",
            "tests/enforced/test_uploads.py::test_s5_sabotage_without_the_condition_a_name_is_written_twice",
        ),
    ),
    "S6": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/gates/test_first_look.py::test_s6_the_sources_own_folder_is_served",
            "tests/scripts/relay/test_first_look.py::test_s6_a_session_never_serves_the_folder_above",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s6_sabotage_served_from_the_buckets_root_other_sources_are_read_and_written",
            "tests/gates/test_first_look.py::test_s6_sabotage_without_the_slash_the_folder_above_is_served",
        ),
    ),
    "S7": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s7_sabotage_with_rclones_messages_shown_to_the_source_the_storage_is_named",
        ),
    ),
    "S8": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/prune/test_prune.py::test_s8_forged_snapshots_are_refused_by_name_and_once_set_aside_displace_no_good_one",
            "tests/prune/test_prune.py::test_s8_a_burst_of_a_thousand_is_refused_and_displaces_nothing",
            "tests/unit/ops/prune/test_retention.py::test_s8_each_forgery_is_named_and_no_good_snapshot_is_dropped_for_it",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_s8_sabotage_a_prune_that_believes_what_snapshots_claim_breaks",
            "tests/prune/test_prune.py::test_s8_sabotage_a_prune_that_trusts_claims_drops_good_snapshots",
        ),
    ),
    "S9": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/scripts/source/test_wrapper.py::test_bogus_keys_do_not_lock_out",
            "tests/recover/test_recover.py::test_s9_bogus_keys_do_not_matter_with_the_recorded_key_id_nor_with_the_oldest_key",
            "tests/recover/test_recover.py::test_garbage_with_inconspicuous_names_is_found_by_the_check_and_an_earlier_moment_is_used",
            "tests/prune/test_poison.py::test_s9_a_prune_refuses_until_new_packs_were_read_and_found_good",
            "tests/prune/test_poison.py::test_s9_young_locks_are_waited_for_and_thousands_of_old_ones_removed",
            "tests/prune/test_poison.py::test_s9_poison_that_arrives_while_restic_prunes_is_found_and_every_version_is_kept",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_s9_sabotage_a_prune_that_reads_no_pack_breaks",
            "tests/drill/test_trusted_rows.py::test_s9_sabotage_without_the_key_hint_recovery_breaks",
            "tests/scripts/source/test_wrapper.py::test_sabotage_a_wrapper_without_the_key_hint_is_caught",
            "tests/recover/test_recover.py::test_sabotage_without_the_key_hint_bogus_keys_lock_out",
            "tests/prune/test_poison.py::test_s9_sabotage_a_prune_that_reads_nothing_hides_a_good_file",
            "tests/prune/test_poison.py::test_s9_sabotage_a_prune_that_leaves_bogus_locks_does_not_run",
        ),
    ),
    "S10": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_steps.py::test_the_session_limit_answers_busy_and_does_not_affect_other_sources",
            "tests/scripts/relay/test_steps.py::test_limits_are_in_force_in_the_running_process",
            "tests/scripts/relay/test_upload_limit.py::test_a_source_is_cut_off_at_its_limit_is_told_why_and_can_go_on_after_a_raise",
            "tests/integration/test_status_and_cut_off.py::test_s10_fast_growth_is_noticed",
            "tests/integration/test_status_and_cut_off.py::test_s10_s11_one_command_cuts_off_one_source_and_another_lets_it_in",
        ),
        sabotage=(
            "tests/drill/test_trusted_rows.py::test_s10_sabotage_with_more_sessions_than_promised_it_breaks",
            "tests/drill/test_trusted_rows.py::test_s10_sabotage_a_cut_off_that_does_not_reach_the_relay_breaks",
            "tests/drill/test_trusted_rows.py::test_s10_sabotage_where_the_kernel_counts_but_lets_through_it_breaks",
        ),
    ),
    "S11": Proof(
        tests=(
            "tests/drill/test_s_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_steps.py::test_a_stolen_key_is_refused_from_elsewhere",
            "tests/integration/test_lifecycle.py::test_a_source_is_removed_without_touching_the_others",
        ),
        sabotage=(
            "tests/drill/test_s_rows.py::test_s11_sabotage_with_from_ignored_sessions_outlive_their_key",
        ),
    ),
}
# fmt: on
