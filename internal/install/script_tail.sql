
RESET client_min_messages;
RESET search_path;
