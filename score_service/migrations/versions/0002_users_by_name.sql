-- Users are searched by the beginning of their display name, whatever its case.
CREATE INDEX users_by_name ON users (game_id, lower(display_name) text_pattern_ops, user_id)
    WHERE display_name IS NOT NULL;
