CREATE TABLE `milestones` (
	`subject` text NOT NULL,
	`metric` integer NOT NULL,
	`threshold` integer NOT NULL,
	`url` text NOT NULL,
	`count` integer NOT NULL,
	`at_ms` integer NOT NULL,
	`tries` integer NOT NULL,
	`due_ms` integer,
	PRIMARY KEY(`subject`, `metric`, `threshold`, `url`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `milestones_due` ON `milestones` (`url`,`due_ms`) WHERE due_ms IS NOT NULL;