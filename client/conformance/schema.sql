-- What the cases are about: lists of an owner with items, and notices for teams.
CREATE SCHEMA app;
CREATE TABLE app.member (user_id text, team text, PRIMARY KEY (user_id, team));
CREATE TABLE app.list (id text PRIMARY KEY, owner_id text, title text NOT NULL CHECK (title <> 'bad'), rank bigint NOT NULL DEFAULT 0, seen text NOT NULL DEFAULT 'no');
CREATE TABLE app.item (id bigint PRIMARY KEY, list_id text REFERENCES app.list ON DELETE CASCADE DEFERRABLE, owner_id text,
    body text, big bigint, amount numeric(38,10), ratio double precision, done boolean NOT NULL DEFAULT false, data bytea, extra jsonb, at timestamptz);
CREATE TABLE app.notice (id int PRIMARY KEY, teams text[] NOT NULL, body text);
CREATE FUNCTION app.notice_buckets(r app.notice) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$SELECT array_agg('team:' || t) FROM unnest(r.teams) AS t$$;
CREATE FUNCTION app.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER AS $$SELECT 'team:' || m.team FROM app.member AS m WHERE m.user_id = $1$$;
CREATE FUNCTION app.see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.seen := 'yes'; RETURN NEW; END$$;
CREATE TRIGGER see BEFORE INSERT OR UPDATE ON app.list FOR EACH ROW EXECUTE FUNCTION app.see();
SELECT tide.register_table('app.list', owner_column => 'owner_id', push_policy => 'owner_only', server_columns => '{seen}');
SELECT tide.register_table('app.item', owner_column => 'owner_id', push_policy => 'owner_only');
SELECT tide.register_table('app.notice', bucket_function => 'app.notice_buckets(app.notice)');
SELECT tide.set_bucket_access('app.reads');
