"""What proves the rows A: the path and the operator."""

from __future__ import annotations

from docs.threat_proofs.proof import Proof

# fmt: off
PATH_AND_OPERATOR = {
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
            "tests/unit/ops/test_private_folder.py::test_a_killed_verbs_secrets_are_removed_at_once",
            "tests/unit/ops/hosts/test_endpoints.py::test_ssh_gets_the_agent_and_nothing_of_the_engines_environment",
            "tests/unit/settings/test_secrecy.py::test_passwords_and_storage_keys_stay_secret",
            "tests/unit/settings/test_secrecy.py::test_a_passphrase_where_a_name_belongs_is_not_repeated",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a2_sabotage_a_secret_in_any_of_four_careless_places_is_found",
            "tests/integration/test_operator_rows.py::test_sabotage_the_watch_would_have_seen_a_secret",
            "tests/unit/settings/test_secrecy.py::test_sabotage_errors_that_quote_plain_words_repeat_a_passphrase",
        ),
    ),
    "A3": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/integration/test_operator_rows.py::test_an_sshd_configuration_that_prevents_logins_is_rolled_back",
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
            "tests/drill/test_a_rows.py::test_a4_sabotage_with_a_low_minimum_version_and_a_step_that_does_not_compare_old_tools_are_accepted",
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
            "tests/scripts/relay/test_second_factor.py::test_totp_opens_the_tunnel_only_with_the_code",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a6_sabotage_without_the_second_factor_a_stolen_key_works",
            "tests/scripts/relay/test_second_factor.py::test_sabotage_a_person_without_a_totp_secret_is_refused",
        ),
    ),
    "A7": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/integration/test_lifecycle.py::test_an_up_that_was_killed_in_the_middle_is_completed_by_the_next",
            "tests/scripts/relay/test_steps.py::test_a_killed_step_is_completed_by_the_next_run",
            "tests/prune/test_killed.py::test_a_prune_killed_anywhere_is_completed_by_the_next",
            "tests/scripts/source/test_failures.py::test_a_connection_cut_in_the_middle_is_an_outage_and_the_next_run_goes_on",
        ),
        sabotage=(
            "tests/scripts/source/test_schedule.py::test_sabotage_a_script_that_remembers_instead_of_asking_is_caught",
            "tests/drill/test_a_rows.py::test_a7_sabotage_a_step_that_takes_half_of_its_work_for_the_whole_is_caught",
            "tests/prune/test_killed.py::test_sabotage_without_the_note_of_intent_a_killed_prune_is_taken_for_an_attack",
        ),
    ),
    "A8": Proof(
        tests=(
            "tests/drill/test_trusted_rows.py::test_the_row_holds",
            "tests/integration/test_status_and_cut_off.py::test_a8_silence_is_noticed_by_the_storages_own_clock",
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
            "tests/scripts/source/test_contents.py::test_if_nothing_would_be_stored_the_run_is_refused_so_that_the_storages_own_alarms_fire",
            "tests/scripts/source/test_contents.py::test_a_run_reports_each_path_that_it_did_not_store",
            "tests/scripts/source/test_contents.py::test_a_path_that_lost_its_files_is_reported_until_somebody_accepts_it",
            "tests/scripts/source/test_contents.py::test_a_run_that_cannot_read_some_files_is_partial_and_fails_after_a_week",
            "tests/restore_test/test_restore_test.py::test_a_backup_without_its_files_fails_the_restore_test",
            "tests/unit/settings/test_patterns.py::test_what_restic_refuses_the_preview_refuses",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a9_sabotage_a_backup_that_always_reports_success_is_caught",
            "tests/scripts/source/test_contents.py::test_sabotage_a_run_that_does_not_check_reports_success",
            "tests/scripts/source/test_contents.py::test_sabotage_a_run_that_compares_with_the_last_snapshot_is_caught",
            "tests/unit/settings/test_patterns.py::test_sabotage_a_preview_that_reads_no_classes_is_caught",
        ),
    ),
    "A10": Proof(
        tests=(
            "tests/drill/test_a_rows.py::test_the_row_holds",
            "tests/scripts/relay/test_storage_proof.py::test_every_weakness_is_found_and_all_are_reported_at_once",
            "tests/scripts/relay/test_storage_proof.py::test_excessive_rights_are_found_on_minio_without_using_them",
            "tests/scripts/relay/test_storage_proof.py::test_excessive_rights_are_found_on_versitygw_as_on_minio",
            "tests/scripts/relay/test_storage_proof.py::test_weaknesses_of_a_real_ceph_are_named",
            "tests/scripts/relay/test_storage_gates.py::test_an_ignored_condition_is_reported_and_the_rest_passes",
            "tests/scripts/relay/test_storage_gates.py::test_services_that_cannot_work_are_refused_by_name",
        ),
        sabotage=(
            "tests/drill/test_a_rows.py::test_a10_sabotage_a_storage_step_that_checks_too_little_accepts_weak_storages",
            "tests/scripts/relay/test_storage_proof.py::test_sabotage_without_a_part_of_the_check_its_weakness_is_not_found",
            "tests/gates/test_rules.py::test_without_a_checksum_no_upload_is_accepted",
        ),
    ),
}
# fmt: on
