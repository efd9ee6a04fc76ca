-- The application of the simulator. audit counts what every write carries: a token is written once.
CREATE SCHEMA app;
CREATE TABLE app.doc (
    id text PRIMARY KEY,
    owner_id text NOT NULL,
    title text,
    n bigint NOT NULL DEFAULT 0 CHECK (n >= 0),
    token text NOT NULL,
    CONSTRAINT doc_title_key UNIQUE (title) DEFERRABLE
);
CREATE TABLE app.note (
    id uuid PRIMARY KEY,
    doc_id text REFERENCES app.doc ON DELETE CASCADE ON UPDATE CASCADE,
    owner_id text NOT NULL,
    body text,
    at timestamptz,
    amount numeric(38,10),
    big bigint,
    image bytea,
    extra jsonb,
    token text NOT NULL
);
CREATE INDEX ON app.note (doc_id);
-- Both halves of a pair are always written in one transaction, with the same n.
CREATE TABLE app.half (
    pair integer NOT NULL,
    side text NOT NULL,
    owner_id text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (pair, side)
);
CREATE TABLE app.audit (audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, token text NOT NULL, old_token text, xid xid8 NOT NULL DEFAULT pg_current_xact_id());
CREATE INDEX ON app.audit (token);
CREATE FUNCTION app.audit_update() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.audit (token, old_token) SELECT r.token, o.token FROM written AS r LEFT JOIN overwritten AS o ON o.id = r.id;
    RETURN NULL;
END $$;
CREATE FUNCTION app.audit_statement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO app.audit (token) SELECT r.token FROM written AS r;
    RETURN NULL;
END $$;
CREATE FUNCTION app.audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Not what a foreign key cascades: it writes doc_id alone. (It is done at the depth of the statement that it is of.)
    IF TG_OP = 'INSERT' OR NEW.doc_id IS NOT DISTINCT FROM OLD.doc_id OR to_jsonb(NEW) - 'doc_id' <> to_jsonb(OLD) - 'doc_id' THEN
        INSERT INTO app.audit (token, old_token) VALUES (NEW.token, CASE TG_OP WHEN 'UPDATE' THEN OLD.token END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_insert AFTER INSERT ON app.doc REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION app.audit_statement();
CREATE TRIGGER audit_update AFTER UPDATE ON app.doc REFERENCING OLD TABLE AS overwritten NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION app.audit_update();
-- A row trigger: where tables have one, capture orders by what was drawn before the statement.
CREATE TRIGGER audit_row AFTER INSERT OR UPDATE ON app.note FOR EACH ROW EXECUTE FUNCTION app.audit_row();
-- What is shared: who is in which team; boards of an owner that may be lent to a team, in pairs that are
-- written together; cards that lie where their board does; papers for those whom their board is shown to.
CREATE TABLE app.member (user_id text, team text, PRIMARY KEY (user_id, team));
CREATE TABLE app.board (id integer PRIMARY KEY, owner_id text NOT NULL, team text, n bigint NOT NULL DEFAULT 0, token text NOT NULL);
CREATE TABLE app.card (id integer PRIMARY KEY, board_id integer NOT NULL REFERENCES app.board ON DELETE CASCADE, n bigint NOT NULL DEFAULT 0, token text NOT NULL);
CREATE TABLE app.shown (board_id integer NOT NULL REFERENCES app.board ON DELETE CASCADE, user_id text NOT NULL, PRIMARY KEY (board_id, user_id));
CREATE TABLE app.paper (id integer PRIMARY KEY, board_id integer NOT NULL REFERENCES app.board ON DELETE CASCADE, body text NOT NULL, token text NOT NULL);
CREATE INDEX ON app.card (board_id);
CREATE INDEX ON app.paper (board_id);
CREATE FUNCTION app.board_buckets(b app.board) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN b.team IS NULL THEN ARRAY['user:' || b.owner_id] ELSE ARRAY['user:' || b.owner_id, 'team:' || b.team] END $$;
CREATE FUNCTION app.paper_buckets(p app.paper) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p.body = 'poison' THEN
        RAISE 'no rule for poison';
    END IF;
    RETURN ARRAY(SELECT 'user:' || s.user_id FROM app.shown AS s WHERE s.board_id = p.board_id);
END $$;
CREATE FUNCTION app.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'team:' || m.team FROM app.member AS m WHERE m.user_id = $1 $$;
GRANT USAGE ON SCHEMA app TO tide_owner;
-- What the oracles go by, which is said without pgtide: where a board lies, and which image of a row is seen by whom.
CREATE FUNCTION app.lies(board integer) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT array_remove(ARRAY['user:' || b.owner_id, 'team:' || b.team], NULL) FROM app.board AS b WHERE b.id = board $$;
CREATE VIEW app.sees AS
    SELECT b.id AS board_id, b.owner_id AS user_id FROM app.board AS b UNION SELECT b.id, m.user_id FROM app.board AS b JOIN app.member AS m ON m.team = b.team;
-- Who reads the bucket of a team reads its log: what is in it is an image of the team as well, whoever is a member meanwhile.
CREATE VIEW app.reads_board AS
SELECT s.board_id, s.user_id AS reader FROM app.sees AS s
 UNION ALL SELECT b.id, 'team:' || b.team FROM app.board AS b WHERE b.team IS NOT NULL;
CREATE FUNCTION app.images(of_table text) RETURNS TABLE (reader text, image text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    CASE of_table
    WHEN 'doc' THEN RETURN QUERY SELECT t.owner_id, concat_ws('|', 'doc', t.id, t.owner_id, t.n, t.token) FROM app.doc AS t;
    WHEN 'note' THEN RETURN QUERY SELECT t.owner_id, concat_ws('|', 'note', t.id, t.owner_id, t.token) FROM app.note AS t;
    WHEN 'half' THEN RETURN QUERY SELECT t.owner_id, concat_ws('|', 'half', t.pair, t.side, t.owner_id, t.n) FROM app.half AS t;
    WHEN 'later' THEN RETURN QUERY SELECT t.owner_id, concat_ws('|', 'later', t.id, t.owner_id) FROM app.later AS t;
    WHEN 'board' THEN RETURN QUERY SELECT r.reader, concat_ws('|', 'board', t.id, t.owner_id, t.team, t.n, t.token) FROM app.board AS t JOIN app.reads_board AS r ON r.board_id = t.id;
    WHEN 'card' THEN RETURN QUERY SELECT r.reader, concat_ws('|', 'card', t.id, t.board_id, t.n, t.token) FROM app.card AS t JOIN app.reads_board AS r ON r.board_id = t.board_id;
    WHEN 'paper' THEN RETURN QUERY SELECT s.user_id, concat_ws('|', 'paper', t.id, t.board_id, t.token) FROM app.paper AS t JOIN app.shown AS s ON s.board_id = t.board_id WHERE t.body <> 'poison';
    END CASE;
END $$;
-- Not registered yet: a DBA may do that.
CREATE TABLE app.later (id integer PRIMARY KEY, owner_id text NOT NULL, body text);
INSERT INTO app.later VALUES (1, 'ann', 'was there'), (2, 'bob', 'was there too');
-- ann has rows from before pgtide; the others begin empty.
INSERT INTO app.doc VALUES ('d0', 'ann', 'zero', 0, 'seed 0'), ('d1', 'ann', NULL, 1, 'seed 1');
INSERT INTO app.note (id, doc_id, owner_id, body, token) VALUES ('00000000-0000-4000-8000-000000000000', 'd0', 'ann', 'before', 'seed 2');
INSERT INTO app.half VALUES (0, 'left', 'ann', 0), (0, 'right', 'ann', 0);
SELECT tide.register_table('app.doc', owner_column => 'owner_id', push_policy => 'owner_only');
SELECT tide.register_table('app.note', owner_column => 'owner_id', push_policy => 'owner_only');
SELECT tide.register_table('app.half', owner_column => 'owner_id');
INSERT INTO app.member VALUES ('ann', 'a'), ('bob', 'a'), ('bob', 'b');
INSERT INTO app.board VALUES (0, 'ann', NULL, 0, 'seed 3'), (1, 'ann', NULL, 0, 'seed 4'), (2, 'bob', 'a', 0, 'seed 5'), (3, 'bob', 'a', 0, 'seed 6');
INSERT INTO app.card VALUES (0, 0, 0, 'seed 7'), (1, 2, 0, 'seed 8');
INSERT INTO app.shown VALUES (0, 'bob');
INSERT INTO app.paper VALUES (0, 0, 'shown', 'seed 9');
SELECT tide.register_table('app.board', bucket_function => 'app.board_buckets');
SELECT tide.register_table('app.card', parent => 'app.board', parent_fk => 'board_id');
SELECT tide.register_table('app.paper', bucket_function => 'app.paper_buckets');
SELECT tide.add_bucket_dependency('app.paper', on_table => 'app.shown', columns => 'board_id', table_columns => 'board_id');
SELECT tide.set_bucket_access('app.reads');
SELECT tide.add_access_dependency('app.member', 'user_id');
