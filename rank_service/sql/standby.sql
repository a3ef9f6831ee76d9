-- name: primary_state
-- Who the primary is, whether a commit waits until standbys have applied it, how far the log is written.
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       current_setting('synchronous_commit') = 'remote_apply'
           AND current_setting('synchronous_standby_names') <> '' AS waits,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS written;

-- name: standby_state
-- Whose copy a standby is, and how far it has applied the log; nothing applied when it is a standby no more.
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END AS applied;
