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
    -- Not what a foreign key cascades.
    IF pg_trigger_depth() = 1 THEN
        INSERT INTO app.audit (token, old_token) VALUES (NEW.token, CASE TG_OP WHEN 'UPDATE' THEN OLD.token END);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_insert AFTER INSERT ON app.doc REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION app.audit_statement();
CREATE TRIGGER audit_update AFTER UPDATE ON app.doc REFERENCING OLD TABLE AS overwritten NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION app.audit_update();
-- A row trigger: where tables have one, capture orders by what was drawn before the statement.
CREATE TRIGGER audit_row AFTER INSERT OR UPDATE ON app.note FOR EACH ROW EXECUTE FUNCTION app.audit_row();
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
