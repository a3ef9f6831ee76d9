-- name: primary_state
-- Who the primary is, on which timeline, whether a commit waits until standbys have applied it, how far the log is
-- written.
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS timeline,
       current_setting('synchronous_commit') = 'remote_apply'
           AND current_setting('synchronous_standby_names') <> '' AS waits,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint AS written;

-- name: standby_state
-- Whose copy a standby is, on which timeline (of a promotion it knows from the next checkpoint on), and how far it has
-- applied the log; nothing applied when it is a standby no more.
SELECT (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
       CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END AS applied;
