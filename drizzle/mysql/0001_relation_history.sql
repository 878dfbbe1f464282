-- What is active now counts in the hour of its stamp (milliseconds since 2000 in units of 1/2048); when an actor came and went
-- before, nobody knows any more. IGNORE: it may be run again where its runner died before it was in the book.
INSERT IGNORE INTO `history` (`subject`, `metric`, `at`, `amount`)
SELECT `subject`, `metric`, (946684800 + `stamp` DIV 2048000) DIV 3600 * 3600, count(*)
FROM `relations` WHERE `active` = 1 GROUP BY 1, 2, 3;
