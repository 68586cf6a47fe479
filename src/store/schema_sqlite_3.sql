-- Version 3 of the embedded store: requests found by their push.

CREATE INDEX friend_requests_by_push ON friend_requests (push_seq);
