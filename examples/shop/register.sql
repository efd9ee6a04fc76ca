-- What devices may hold: everybody the catalogue, each customer what is his own.
SELECT tide.register_table('shop.product', bucket => 'global');
SELECT tide.register_table('shop.customer', owner_column => 'customer_id', exclude_columns => '{remark}');

-- What devices may change: their customer's purchases and the items of these. The status is for
-- the staff to set; a purchase that a device deletes stays in the table, with deleted_at set.
SELECT tide.register_table('shop.purchase', owner_column => 'customer_id', push_policy => 'owner_only',
    protected_columns => '{status}', deleted_at_column => 'deleted_at',
    exclude_columns => '{updated_at, deleted_at}');
SELECT tide.register_table('shop.purchase_item', owner_column => 'customer_id',
    push_policy => 'owner_only');
