CREATE OR REPLACE VIEW tide.hook_events AS
SELECT e.event_id, e.hook, e.event, e.happened_at, e.attempts, e.next_try_at, e.error
  FROM tide.hook_event AS e
 ORDER BY e.event_id;
COMMENT ON VIEW tide.hook_events IS 'What hooks are still to be told, and why they failed so far. To drop one: DELETE FROM tide.hook_event WHERE event_id = ...';
