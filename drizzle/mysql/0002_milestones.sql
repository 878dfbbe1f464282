CREATE TABLE `milestones` (
	`subject` varbinary(161) NOT NULL,
	`metric` tinyint unsigned NOT NULL,
	`threshold` bigint NOT NULL,
	`url` varbinary(1024) NOT NULL,
	`count` bigint NOT NULL,
	`at_ms` bigint NOT NULL,
	`tries` int unsigned NOT NULL,
	`due_ms` bigint,
	CONSTRAINT `milestones_subject_metric_threshold_url_pk` PRIMARY KEY(`subject`,`metric`,`threshold`,`url`)
);
--> statement-breakpoint
CREATE INDEX `milestones_due` ON `milestones` (`url`,`due_ms`);