CREATE TABLE `sketches` (
	`subject` varbinary(161) NOT NULL,
	`metric` tinyint unsigned NOT NULL,
	`day` int unsigned NOT NULL,
	`sketch` varbinary(12289) NOT NULL,
	CONSTRAINT `sketches_subject_metric_day_pk` PRIMARY KEY(`subject`,`metric`,`day`)
);
--> statement-breakpoint
CREATE INDEX `sketches_by_day` ON `sketches` (`day`);