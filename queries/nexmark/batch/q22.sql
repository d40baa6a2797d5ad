SELECT
  auction, bidder, price, channel,
  split_part(url, '/', 4) AS folder_1,
  split_part(url, '/', 5) AS folder_2,
  split_part(url, '/', 6) AS folder_3
FROM bid;
