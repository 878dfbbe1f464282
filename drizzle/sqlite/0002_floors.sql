CREATE TABLE `floors` (
	`actor` blob PRIMARY KEY NOT NULL,
	`stamp` integer NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `relations_inactive` ON `relations` (`segment`,`subject`) WHERE (stamp & 1) = 0;