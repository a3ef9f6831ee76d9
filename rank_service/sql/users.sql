-- name: user
-- One user's profile.
SELECT user_id, display_name, country, avatar_url
  FROM users
 WHERE game_id = $1 AND user_id = $2;

-- name: search_users
-- Users whose id, or display name in any case, begins with a text.
-- Ranges, because a LIKE with a parameter uses no index under a generic plan; nothing sorts after U+10FFFF.
(SELECT user_id, display_name, country, avatar_url
   FROM users
  WHERE game_id = $1 AND user_id >= $2 AND user_id < ($2 || chr(1114111))
  ORDER BY user_id
  LIMIT $3)
UNION
(SELECT user_id, display_name, country, avatar_url
   FROM users
  WHERE game_id = $1
    AND display_name IS NOT NULL
    AND lower(display_name) ~>=~ lower($2)
    AND lower(display_name) ~<~ (lower($2) || chr(1114111))
  ORDER BY lower(display_name) USING ~<~, user_id
  LIMIT $3)
 ORDER BY user_id
 LIMIT $3;

-- name: sessions_of_user
-- A user's results, newest first, from behind a position (played_at, session_id).
SELECT r.session_id, s.mode, r.played_at, r.score, r.metadata, s.voided_at IS NOT NULL AS voided
  FROM session_results AS r
  JOIN game_sessions AS s USING (game_id, period, session_id)
 WHERE r.game_id = $1
   AND r.user_id = $2
   AND (r.played_at, r.session_id) < ($3, $4)
 ORDER BY r.played_at DESC, r.session_id DESC
 LIMIT $5;
