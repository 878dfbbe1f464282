ALTER TABLE `changes` ADD `id` bigint unsigned AUTO_INCREMENT NOT NULL, ADD CONSTRAINT `changes_by_id` UNIQUE(`id`);
