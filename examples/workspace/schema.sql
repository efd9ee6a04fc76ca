-- A product in which people work on documents together. It knows nothing of pgtide.
CREATE SCHEMA workspace;

CREATE TABLE workspace.person (
    user_id text PRIMARY KEY, -- as the login says it
    name    text NOT NULL,
    color   text NOT NULL DEFAULT 'grey'
);

CREATE TABLE workspace.organisation (
    organisation_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text NOT NULL
);

-- Admins of an organisation see and edit all its projects.
CREATE TABLE workspace.member (
    organisation_id uuid REFERENCES workspace.organisation ON DELETE CASCADE,
    user_id         text REFERENCES workspace.person ON DELETE CASCADE,
    role            text NOT NULL CHECK (role IN ('admin', 'member')),
    PRIMARY KEY (organisation_id, user_id)
);
CREATE INDEX ON workspace.member (user_id);

CREATE TABLE workspace.team (
    team_id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id uuid NOT NULL REFERENCES workspace.organisation ON DELETE CASCADE,
    name            text NOT NULL
);
CREATE INDEX ON workspace.team (organisation_id);

CREATE TABLE workspace.team_member (
    team_id uuid REFERENCES workspace.team ON DELETE CASCADE,
    user_id text REFERENCES workspace.person ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);
CREATE INDEX ON workspace.team_member (user_id);

CREATE TABLE workspace.project (
    project_id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    organisation_id uuid NOT NULL REFERENCES workspace.organisation ON DELETE CASCADE,
    name            text NOT NULL
);
CREATE INDEX ON workspace.project (organisation_id);

-- A project is shared with teams and with single people, inside the organisation or not.
CREATE TABLE workspace.project_team (
    project_id uuid REFERENCES workspace.project ON DELETE CASCADE,
    team_id    uuid REFERENCES workspace.team ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('viewer', 'editor')),
    PRIMARY KEY (project_id, team_id)
);
CREATE INDEX ON workspace.project_team (team_id);

CREATE TABLE workspace.project_person (
    project_id uuid REFERENCES workspace.project ON DELETE CASCADE,
    user_id    text REFERENCES workspace.person ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('viewer', 'editor')),
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX ON workspace.project_person (user_id);

-- A folder lies in a project, or in another folder.
CREATE TABLE workspace.folder (
    folder_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid REFERENCES workspace.project ON DELETE CASCADE,
    parent_id  uuid REFERENCES workspace.folder ON DELETE CASCADE,
    name       text NOT NULL,
    CHECK (num_nonnulls(project_id, parent_id) = 1)
);
CREATE INDEX ON workspace.folder (project_id);
CREATE INDEX ON workspace.folder (parent_id);

-- One without a folder is a private draft of its author.
CREATE TABLE workspace.document (
    document_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    folder_id   uuid REFERENCES workspace.folder ON DELETE CASCADE,
    author_id   text NOT NULL DEFAULT current_setting('app.user_id', true) REFERENCES workspace.person,
    title       text NOT NULL,
    body        text NOT NULL DEFAULT '',
    deleted_at  timestamptz
);
CREATE INDEX ON workspace.document (folder_id);

-- A single document may be shared too, also a draft.
CREATE TABLE workspace.document_share (
    document_id uuid REFERENCES workspace.document ON DELETE CASCADE,
    user_id     text REFERENCES workspace.person ON DELETE CASCADE,
    role        text NOT NULL CHECK (role IN ('viewer', 'editor')),
    PRIMARY KEY (document_id, user_id)
);

CREATE TABLE workspace.comment (
    comment_id  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    document_id uuid NOT NULL REFERENCES workspace.document ON DELETE CASCADE,
    author_id   text NOT NULL DEFAULT current_setting('app.user_id', true) REFERENCES workspace.person,
    body        text NOT NULL
);
CREATE INDEX ON workspace.comment (document_id);

CREATE TABLE workspace.reaction (
    comment_id uuid REFERENCES workspace.comment ON DELETE CASCADE,
    user_id    text DEFAULT current_setting('app.user_id', true) REFERENCES workspace.person ON DELETE CASCADE,
    emoji      text NOT NULL,
    PRIMARY KEY (comment_id, user_id)
);

-- What new documents may begin with, the same for everybody.
CREATE TABLE workspace.template (
    template_id integer PRIMARY KEY,
    name        text NOT NULL,
    body        text NOT NULL
);
