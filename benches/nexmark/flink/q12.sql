SELECT bidder, count(*) AS bids, window_start, window_end
FROM TABLE(TUMBLE(TABLE bid_seen, DESCRIPTOR(seen_at), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, bidder
