-- Where a leaderboard's sealed seasons are announced. Not part of the definition in `leaderboards`: nothing is
-- folded by it, and readers of definitions do not see it.
CREATE TABLE webhooks (
    leaderboard_id integer PRIMARY KEY REFERENCES leaderboards ON DELETE CASCADE,
    url text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN webhooks.since IS 'seasons that had closed by then are not announced';

-- An announcement of one sealing, from the transaction that sealed on. Who stands there is read from
-- `final_standings` when it is sent, so no user is named here.
CREATE TABLE announcements (
    announcement_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    leaderboard_id integer NOT NULL,
    generation integer NOT NULL,
    season bigint NOT NULL,
    digest text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'given_up', 'outdated')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    error text
);
COMMENT ON COLUMN announcements.event_id IS 'the same at every attempt: receivers tell by it what they have';
COMMENT ON COLUMN announcements.next_at IS 'when it is tried next; while it is being sent, when another replica may take over';
CREATE INDEX announcements_due ON announcements (next_at) WHERE status = 'waiting';
CREATE INDEX announcements_of_board ON announcements (leaderboard_id, announcement_id);
CREATE INDEX announcements_ended ON announcements (ended_at) WHERE status <> 'waiting';

GRANT SELECT, INSERT, UPDATE, DELETE ON webhooks, announcements TO leaderboard_score;
