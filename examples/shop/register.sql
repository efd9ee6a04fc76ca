-- What devices may hold: everybody the catalogue, each customer what is his own.
SELECT tide.register_table('shop.product', bucket => 'global');
SELECT tide.register_table('shop.customer', owner_column => 'customer_id');
SELECT tide.register_table('shop.purchase', owner_column => 'customer_id');
SELECT tide.register_table('shop.purchase_item', owner_column => 'customer_id');
