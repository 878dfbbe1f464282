CREATE TABLE `changes` (
	`part` int unsigned NOT NULL,
	`n` bigint NOT NULL,
	`frame` mediumblob NOT NULL,
	CONSTRAINT `changes_part_n_pk` PRIMARY KEY(`part`,`n`)
);
--> statement-breakpoint
CREATE TABLE `ranked` (
	`part` int unsigned NOT NULL,
	`n` bigint NOT NULL,
	CONSTRAINT `ranked_part` PRIMARY KEY(`part`)
);
--> statement-breakpoint
CREATE TABLE `rankers` (
	`id` tinyint unsigned NOT NULL,
	`current_at` datetime(3) NOT NULL,
	CONSTRAINT `rankers_id` PRIMARY KEY(`id`)
);
--> statement-breakpoint
CREATE TABLE `step_subjects` (
	`id` bigint unsigned AUTO_INCREMENT NOT NULL,
	`subject` varbinary(161) NOT NULL,
	`becomes` varbinary(161) NOT NULL,
	`up_to` bigint NOT NULL,
	`at_s` bigint NOT NULL,
	CONSTRAINT `step_subjects_id` PRIMARY KEY(`id`)
);
--> statement-breakpoint
CREATE TABLE `steps` (
	`id` bigint unsigned AUTO_INCREMENT NOT NULL,
	`at` int unsigned NOT NULL,
	`is_hour` tinyint unsigned NOT NULL,
	`frame` mediumblob NOT NULL,
	CONSTRAINT `steps_id` PRIMARY KEY(`id`)
);
--> statement-breakpoint
CREATE TABLE `top_lists` (
	`metric` tinyint unsigned NOT NULL,
	`type` varbinary(32) NOT NULL,
	`ranking` tinyint unsigned NOT NULL,
	`list` mediumblob NOT NULL,
	CONSTRAINT `top_lists_metric_type_ranking_pk` PRIMARY KEY(`metric`,`type`,`ranking`)
);
--> statement-breakpoint
CREATE TABLE `top_wanted` (
	`metric` tinyint unsigned NOT NULL,
	`type` varbinary(32) NOT NULL,
	`ranking` tinyint unsigned NOT NULL,
	`at` datetime(3) NOT NULL,
	CONSTRAINT `top_wanted_metric_type_ranking_pk` PRIMARY KEY(`metric`,`type`,`ranking`)
);
--> statement-breakpoint
ALTER TABLE `partitions` ADD `changes` bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
CREATE INDEX `steps_by_time` ON `steps` (`is_hour`,`at`);