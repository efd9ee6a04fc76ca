-- The client role calls the functions of its policies as it likes: they answer about buckets of its user alone.
CREATE OR REPLACE FUNCTION tide.my_proven_buckets()
    RETURNS text[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_mine text[] := tide.my_buckets();
BEGIN
    RETURN v_mine || tide.buckets_proof(v_mine);
END;
$$;
COMMENT ON FUNCTION tide.my_proven_buckets() IS 'Buckets that the user of this transaction (app.user_id) may read, and the proof that they are: for the policies of tide.enable_rls. Raises TD032. Internal.';
