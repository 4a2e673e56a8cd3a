"""What proves the rows R: a compromised relay."""

from __future__ import annotations

from docs.threat_proofs.proof import Proof

# fmt: off
RELAY = {
    "R1": Proof(
        state="in part: proven on the local stack's storage and on a second S3 server, not yet tried on AWS",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r1_no_object_is_deleted",
            "tests/enforced/test_backup_works.py::test_r1_r2_rclone_itself_removes_nothing",
            "tests/sandbox/test_storage.py::test_a_source_cannot_delete_data_or_versions",
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
            "tests/enforced/test_relay_rows.py::test_r2_no_version_is_deleted_and_no_lock_is_shortened",
            "tests/enforced/test_relay_rows.py::test_r2_compliance_keeps_every_version_without_any_document",
            "tests/sandbox/test_storage.py::test_the_lock_is_compliance_and_binds_even_the_storages_root",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r2_sabotage_where_the_lock_can_be_bypassed_versions_are_lost",
            "tests/enforced/test_relay_rows.py::test_r2_sabotage_versions_are_lost",
            "tests/sandbox/test_storage.py::test_sabotage_the_lock_check_fails_on_a_bucket_without_a_lock",
        ),
    ),
    "R3": Proof(
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/recover/test_dates.py::test_r3_forged_dates_do_not_affect_the_view_of_the_past",
            "tests/integration/test_recovery.py::test_r3_a_destroyed_repository_is_restored_from_the_stacks_outputs_and_rebuilt_for_the_source",
            "tests/recover/test_recover.py::test_r3_s9_after_the_whole_attack_restore_returns_every_byte_and_rebuild_repairs_the_repository",
            "tests/recover/test_recover.py::test_a_rebuild_interrupted_anywhere_is_completed_by_the_next",
            "tests/enforced/test_backup_works.py::test_r3_earlier_data_restores_whatever_the_attacker_wrote",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r3_sabotage_without_versions_nothing_can_be_restored",
            "tests/recover/test_recover.py::test_sabotage_without_the_view_of_the_past_the_restore_fails",
            "tests/recover/test_recover.py::test_sabotage_a_rebuild_that_skips_overwritten_objects_is_caught",
            "tests/enforced/test_backup_works.py::test_r3_sabotage_without_versions_the_attacker_succeeds",
            "tests/recover/test_dates.py::test_r3_sabotage_by_the_storages_dates_recovery_fails",
            "tests/drill/test_r_rows.py::test_r3_sabotage_recovery_by_dates_that_an_attacker_chose_fails",
        ),
    ),
    "R4": Proof(
        state="in part: as R1; no server here knows public access block",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r4_the_bucket_stays_unchanged",
            "tests/sandbox/test_storage.py::test_a_source_cannot_change_retention_or_bucket_settings",
        ),
        sabotage=(
            "tests/drill/test_r_rows.py::test_r4_sabotage_an_identity_with_all_rights_changes_the_bucket",
            "tests/enforced/test_relay_rows.py::test_r4_sabotage_the_bucket_is_changed",
            "tests/sandbox/test_storage.py::test_sabotage_the_identity_check_fails_with_a_wider_policy",
        ),
    ),
    "R5": Proof(
        state="in part: as R1; the cap on who may extend locks: on the local stack's storage",
        tests=(
            "tests/drill/test_r_rows.py::test_the_row_holds",
            "tests/enforced/test_relay_rows.py::test_r5_nothing_is_locked_for_decades",
            "tests/enforced/test_statements.py::test_r5_even_an_identity_that_may_extend_locks_cannot_exceed_the_cap",
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
            "tests/sandbox/test_network.py::test_sabotage_without_the_rules_the_check_fails",
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
            "tests/enforced/test_prefixes.py::test_r8_sabotage_with_a_wider_prefix_other_sources_can_be_reached",
        ),
    ),
}
# fmt: on
