-- Which rows lie in which buckets, who reads which buckets, who may write what. docs/buckets.md explains it.

-- Everybody reads the catalogue; members of an organisation what is about it.
SELECT tide.register_table('workspace.template', bucket => 'global');
SELECT tide.register_table('workspace.organisation', owner_column => 'organisation_id', bucket_prefix => 'org:');
SELECT tide.register_table('workspace.member', owner_column => 'organisation_id', bucket_prefix => 'org:');
SELECT tide.register_table('workspace.team', owner_column => 'organisation_id', bucket_prefix => 'org:');
SELECT tide.register_table('workspace.team_member', parent => 'workspace.team', parent_fk => 'team_id');

-- A project with all that lies in it is one bucket, whoever it is shared with.
SELECT tide.register_table('workspace.project', owner_column => 'project_id', bucket_prefix => 'project:', protected_columns => '{organisation_id}');
SELECT tide.register_table('workspace.project_team', owner_column => 'project_id', bucket_prefix => 'project:');
SELECT tide.register_table('workspace.project_person', owner_column => 'project_id', bucket_prefix => 'project:');
SELECT tide.register_table('workspace.folder', parents => '{"workspace.folder": "parent_id", "workspace.project": "project_id"}');

-- A draft is its author's. A single document is shared with editors in their home bucket, with viewers
-- in another one of theirs: who may write goes by buckets.
CREATE FUNCTION workspace.document_buckets(d workspace.document) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN d.folder_id IS NULL THEN ARRAY['user:' || d.author_id] END
        || ARRAY(SELECT CASE s.role WHEN 'editor' THEN 'user:' ELSE 'viewer:' END || s.user_id
                   FROM workspace.document_share AS s WHERE s.document_id = d.document_id)
$$;
SELECT tide.register_table('workspace.document', parent => 'workspace.folder', parent_fk => 'folder_id',
    bucket_function => 'workspace.document_buckets', deleted_at_column => 'deleted_at', exclude_columns => '{deleted_at}', protected_columns => '{author_id}');
SELECT tide.add_bucket_dependency('workspace.document', on_table => 'workspace.document_share', columns => 'document_id');

-- What hangs on a document goes where the document goes.
SELECT tide.register_table('workspace.document_share', parent => 'workspace.document', parent_fk => 'document_id');
SELECT tide.register_table('workspace.comment', parent => 'workspace.document', parent_fk => 'document_id', protected_columns => '{author_id}');
SELECT tide.register_table('workspace.reaction', parent => 'workspace.comment', parent_fk => 'comment_id');

-- Names of people go to those who are in an organisation or a project with them.
CREATE FUNCTION workspace.person_buckets(p workspace.person) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY['user:' || p.user_id]
        || ARRAY(SELECT 'org:' || m.organisation_id FROM workspace.member AS m WHERE m.user_id = p.user_id)
        || ARRAY(SELECT 'project:' || s.project_id FROM workspace.project_person AS s WHERE s.user_id = p.user_id)
$$;
SELECT tide.register_table('workspace.person', bucket_function => 'workspace.person_buckets');
SELECT tide.add_bucket_dependency('workspace.person', on_table => 'workspace.member', columns => 'user_id');
SELECT tide.add_bucket_dependency('workspace.person', on_table => 'workspace.project_person', columns => 'user_id');

-- Who reads which buckets.
CREATE VIEW workspace.project_role AS
    SELECT s.user_id, s.project_id, s.role FROM workspace.project_person AS s
     UNION ALL
    SELECT m.user_id, s.project_id, s.role FROM workspace.project_team AS s JOIN workspace.team_member AS m USING (team_id)
     UNION ALL
    SELECT m.user_id, p.project_id, 'editor' FROM workspace.project AS p JOIN workspace.member AS m USING (organisation_id) WHERE m.role = 'admin';
GRANT SELECT ON workspace.project_role TO tide_owner;

CREATE FUNCTION workspace.reads(user_id text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT unnest(ARRAY['global', 'viewer:' || $1])
     UNION SELECT 'org:' || m.organisation_id FROM workspace.member AS m WHERE m.user_id = $1
     UNION SELECT 'project:' || r.project_id FROM workspace.project_role AS r WHERE r.user_id = $1
$$;
SELECT tide.set_bucket_access('workspace.reads');
SELECT tide.add_access_dependency('workspace.member', 'user_id, role', affects => 'SELECT changed.user_id');
SELECT tide.add_access_dependency('workspace.team_member', 'user_id');
SELECT tide.add_access_dependency('workspace.project_person', 'user_id');
SELECT tide.add_access_dependency('workspace.project_team', 'team_id',
    affects => 'SELECT m.user_id FROM workspace.team_member AS m WHERE m.team_id = changed.team_id');
SELECT tide.add_access_dependency('workspace.project', 'organisation_id',
    affects => 'SELECT m.user_id FROM workspace.member AS m WHERE m.organisation_id = changed.organisation_id AND m.role = ''admin''');

-- Who may write what he may read: editors, in the buckets where they are editors; comments and
-- reactions everybody, in his own name. Memberships and shares of projects change on the server alone.
CREATE FUNCTION workspace.edits(user_id text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'user:' || $1
     UNION SELECT 'project:' || r.project_id FROM workspace.project_role AS r WHERE r.user_id = $1 AND r.role = 'editor'
$$;
CREATE FUNCTION workspace.is_own(user_id text, c workspace.comment) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT c.author_id = $1 $$;
CREATE FUNCTION workspace.is_own(user_id text, r workspace.reaction) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT r.user_id = $1 $$;
CREATE FUNCTION workspace.is_own(user_id text, p workspace.person) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT p.user_id = $1 $$;
SELECT tide.enable_rls(t, write => 'workspace.edits', push => true)
  FROM unnest('{workspace.project, workspace.folder, workspace.document, workspace.document_share}'::regclass[]) AS t;
SELECT tide.enable_rls(t, write => 'workspace.is_own', push => true)
  FROM unnest('{workspace.comment, workspace.reaction, workspace.person}'::regclass[]) AS t;
