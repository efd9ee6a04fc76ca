CREATE OR REPLACE VIEW tide.clients AS
SELECT s.user_id, s.source_id, c.app_version, c.platform, c.device_name, s.first_seen_at, c.last_seen_at,
       p.source_bundle_id AS last_push, p.pushed_at AS last_pushed_at, r.new_source_id AS replaced_by, s.shape_id
  FROM tide.source AS s
  LEFT JOIN tide.client AS c ON c.user_id = s.user_id AND c.source_id = s.source_id
  LEFT JOIN tide.source_replacement AS r ON r.user_id = s.user_id AND r.source_id = s.source_id
  LEFT JOIN LATERAL (SELECT l.source_bundle_id, l.pushed_at
                       FROM tide.push_log AS l
                      WHERE l.user_id = s.user_id AND l.source_id = s.source_id
                      ORDER BY l.source_bundle_id DESC
                      LIMIT 1) AS p ON true;
COMMENT ON VIEW tide.clients IS 'Devices: what they say of themselves, when they were first and last seen (to the hour), their newest push, and the source under which they went on. shape_id is the row of tide.shape with the tables and columns they know.';
