-- name: profiles_of_users
-- What lists of entries show of some users, of any games.
SELECT u.game_id, u.user_id, u.display_name, u.country
  FROM unnest($1::int[], $2::text[]) AS asked (game_id, user_id)
  JOIN users AS u USING (game_id, user_id);

-- name: game_has_profiles
-- Whether any user of a game shows a name or a country.
SELECT EXISTS (SELECT FROM users WHERE game_id = $1 AND display_name IS NOT NULL)
    OR EXISTS (SELECT FROM users WHERE game_id = $1 AND country IS NOT NULL);
