package sim

import "fmt"

// sharing are statements of the application about what is shared: teams, boards in pairs, cards and papers.
var sharing = []func(a args) []string{
	// Both boards of a pair are written together.
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.board (id, owner_id, team, token) SELECT 2 * %d + g, %s, nullif('%s', 'none'), %s FROM generate_series(0, 1) AS g ON CONFLICT DO NOTHING`, a.pair, quote(a.user), team(a.n), a.token)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.board SET n = n + 1, token = %s WHERE id / 2 = %d`, a.token, a.pair)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.board SET n = n + 1, token = %s WHERE id / 2 = %d`, a.token, a.pair)}
	},
	// They are lent to another team, or change hands, or go.
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.board SET team = nullif('%s', 'none'), token = %s WHERE id / 2 = %d`, team(a.n), a.token, a.pair)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.board SET owner_id = %s, token = %s WHERE id / 2 = %d`, quote(a.user), a.token, a.pair)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`DELETE FROM app.board WHERE id / 2 = %d`, a.pair)}
	},
	// Cards are put on boards, and from one to another; they change with their boards, before or after them.
	func(a args) []string { return []string{putCard(a)} },
	func(a args) []string { return []string{putCard(a)} },
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.card SET n = n + 1, token = %s WHERE board_id / 2 = %d`, a.token, a.pair),
			fmt.Sprintf(`UPDATE app.board SET owner_id = %s, token = %s WHERE id / 2 = %d`, quote(a.user), a.token, a.pair)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`UPDATE app.card SET board_id = b.id, token = %s FROM app.board AS b WHERE b.id = %d AND card.id %% 3 = %d`, a.token, a.n%6, a.pair)}
	},
	func(a args) []string { return []string{fmt.Sprintf(`DELETE FROM app.card WHERE id = %d`, a.n%8)} },
	// Boards are shown and hidden, which their papers follow; the rule of some papers fails.
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.shown SELECT b.id, %s FROM app.board AS b WHERE b.id = %d ON CONFLICT DO NOTHING`, quote(a.user), a.n%6)}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`DELETE FROM app.shown WHERE board_id = %d AND user_id = %s`, a.n%6, quote(a.user))}
	},
	func(a args) []string {
		body := "'fine'"
		if a.n%5 == 0 {
			body = "'poison'"
		}
		return []string{fmt.Sprintf(`INSERT INTO app.paper SELECT %d, b.id, %s, %s FROM app.board AS b WHERE b.id = %d ON CONFLICT (id) DO UPDATE SET board_id = excluded.board_id, body = excluded.body, token = excluded.token`, a.n%6, body, a.token, a.n%6)}
	},
	// Teams get members and lose them.
	func(a args) []string {
		return []string{fmt.Sprintf(`INSERT INTO app.member VALUES (%s, '%s') ON CONFLICT DO NOTHING`, quote(a.user), teams[a.n%2])}
	},
	func(a args) []string {
		return []string{fmt.Sprintf(`DELETE FROM app.member WHERE user_id = %s AND team = '%s'`, quote(a.user), teams[a.n%2])}
	},
}

var teams = []string{"a", "b", "none"}

func team(n int) string { return teams[n%3] }

func putCard(a args) string {
	return fmt.Sprintf(`INSERT INTO app.card SELECT %d, b.id, 0, %s FROM app.board AS b WHERE b.id = %d ON CONFLICT (id) DO UPDATE SET n = card.n + 1, token = excluded.token`, a.n%8, a.token, a.n/2%6)
}
