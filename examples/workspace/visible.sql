-- What a user ($1) sees, as one query that knows nothing of pgtide: what each of his devices must hold.
WITH RECURSIVE my_organisation AS (
    SELECT organisation_id FROM workspace.member WHERE user_id = $1
), my_project AS (
    SELECT project_id FROM workspace.project_person WHERE user_id = $1
     UNION SELECT s.project_id FROM workspace.project_team AS s JOIN workspace.team_member AS m USING (team_id) WHERE m.user_id = $1
     UNION SELECT p.project_id FROM workspace.project AS p JOIN workspace.member AS m USING (organisation_id) WHERE m.user_id = $1 AND m.role = 'admin'
), my_folder AS (
    SELECT folder_id FROM workspace.folder WHERE project_id IN (SELECT project_id FROM my_project)
     UNION SELECT f.folder_id FROM workspace.folder AS f JOIN my_folder AS m ON m.folder_id = f.parent_id
), my_document AS (
    SELECT d.document_id FROM workspace.document AS d
     WHERE d.deleted_at IS NULL
       AND (d.folder_id IN (SELECT folder_id FROM my_folder) OR d.folder_id IS NULL AND d.author_id = $1
            OR d.document_id IN (SELECT document_id FROM workspace.document_share WHERE user_id = $1))
), my_comment AS (
    SELECT comment_id FROM workspace.comment WHERE document_id IN (SELECT document_id FROM my_document)
)
SELECT 'template' AS table_name, json_build_object('template_id', template_id::text) AS key, to_json(t) AS payload FROM workspace.template AS t
UNION ALL
SELECT 'person', json_build_object('user_id', user_id), to_json(t) FROM workspace.person AS t
 WHERE user_id = $1 OR user_id IN (SELECT user_id FROM workspace.member WHERE organisation_id IN (SELECT organisation_id FROM my_organisation))
    OR user_id IN (SELECT user_id FROM workspace.project_person WHERE project_id IN (SELECT project_id FROM my_project))
UNION ALL
SELECT 'organisation', json_build_object('organisation_id', organisation_id), to_json(t) FROM workspace.organisation AS t WHERE organisation_id IN (SELECT organisation_id FROM my_organisation)
UNION ALL
SELECT 'member', json_build_object('organisation_id', organisation_id, 'user_id', user_id), to_json(t) FROM workspace.member AS t WHERE organisation_id IN (SELECT organisation_id FROM my_organisation)
UNION ALL
SELECT 'team', json_build_object('team_id', team_id), to_json(t) FROM workspace.team AS t WHERE organisation_id IN (SELECT organisation_id FROM my_organisation)
UNION ALL
SELECT 'team_member', json_build_object('team_id', team_id, 'user_id', user_id), to_json(t) FROM workspace.team_member AS t
 WHERE team_id IN (SELECT team_id FROM workspace.team WHERE organisation_id IN (SELECT organisation_id FROM my_organisation))
UNION ALL
SELECT 'project', json_build_object('project_id', project_id), to_json(t) FROM workspace.project AS t WHERE project_id IN (SELECT project_id FROM my_project)
UNION ALL
SELECT 'project_team', json_build_object('project_id', project_id, 'team_id', team_id), to_json(t) FROM workspace.project_team AS t WHERE project_id IN (SELECT project_id FROM my_project)
UNION ALL
SELECT 'project_person', json_build_object('project_id', project_id, 'user_id', user_id), to_json(t) FROM workspace.project_person AS t WHERE project_id IN (SELECT project_id FROM my_project)
UNION ALL
SELECT 'folder', json_build_object('folder_id', folder_id), to_json(t) FROM workspace.folder AS t WHERE folder_id IN (SELECT folder_id FROM my_folder)
UNION ALL
SELECT 'document', json_build_object('document_id', document_id), to_json(t)
  FROM (SELECT document_id, folder_id, author_id, title, body FROM workspace.document) AS t WHERE document_id IN (SELECT document_id FROM my_document)
UNION ALL
SELECT 'document_share', json_build_object('document_id', document_id, 'user_id', user_id), to_json(t) FROM workspace.document_share AS t WHERE document_id IN (SELECT document_id FROM my_document)
UNION ALL
SELECT 'comment', json_build_object('comment_id', comment_id), to_json(t) FROM workspace.comment AS t WHERE comment_id IN (SELECT comment_id FROM my_comment)
UNION ALL
SELECT 'reaction', json_build_object('comment_id', comment_id, 'user_id', user_id), to_json(t) FROM workspace.reaction AS t WHERE comment_id IN (SELECT comment_id FROM my_comment)
