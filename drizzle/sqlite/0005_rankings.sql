CREATE TABLE `changes` (
	`position` integer PRIMARY KEY NOT NULL,
	`frame` blob NOT NULL
);
--> statement-breakpoint
CREATE TABLE `step_subjects` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`subject` text NOT NULL,
	`becomes` text NOT NULL,
	`up_to` integer NOT NULL,
	`at_s` integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE `steps` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`at` integer NOT NULL,
	`is_hour` integer NOT NULL,
	`frame` blob NOT NULL
);
--> statement-breakpoint
CREATE INDEX `steps_by_time` ON `steps` (`is_hour`,`at`);